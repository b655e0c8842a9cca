"""Channels moved along time: the shift of TSM, and sums of moved maps."""
