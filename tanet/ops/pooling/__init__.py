"""Means of feature maps: the mean and variance for BatchNorm, and the squeeze (spatial mean) of TAM."""
