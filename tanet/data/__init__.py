"""Loading of videos: from a folder or a list to batches on the device."""
