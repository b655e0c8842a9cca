"""Strided convolution of images with few channels, for inference on a GPU."""
