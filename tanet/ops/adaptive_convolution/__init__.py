"""The temporal adaptive convolution: a gate, then a K-tap filter for each clip and channel."""
