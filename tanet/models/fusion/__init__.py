"""Merge BatchNorms into the neighbouring module: a convolution or a TAM."""
