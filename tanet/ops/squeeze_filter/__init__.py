"""Squeeze and filter of the same feature maps, with a single backward pass over the maps."""
