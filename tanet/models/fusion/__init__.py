"""Merge each BatchNorm into the convolution before it or the temporal adaptive module (TAM) after it."""
