"""Inference: predict the labels of videos with a trained network."""
