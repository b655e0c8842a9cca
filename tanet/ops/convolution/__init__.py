"""Convolution with bias, residual and ReLU in one operator, for inference on a GPU."""
