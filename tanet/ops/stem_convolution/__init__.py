"""Strided convolution of pictures with few channels, for inference on a GPU."""
