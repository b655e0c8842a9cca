"""Squeeze and filter of the same maps, with one backward pass over them."""
