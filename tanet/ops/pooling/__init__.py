"""Means over maps: BatchNorm's moments, and the squeeze of TAM."""
