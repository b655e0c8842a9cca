"""Squeeze and filter of the same maps, with a single backward pass over the maps."""
