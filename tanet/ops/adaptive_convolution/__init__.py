"""Temporal adaptive convolution: a gate, then a K-tap temporal filter for each clip and channel."""
