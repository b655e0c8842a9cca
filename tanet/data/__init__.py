"""From a folder or a list of videos to batches on the device."""
