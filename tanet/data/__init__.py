"""Load videos from a folder or a list, and prepare batches of them on the device."""
