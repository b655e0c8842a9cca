"""Depthwise 3D convolution, for inference on a GPU."""
