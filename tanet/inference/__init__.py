"""Inference: labels for videos from a trained network."""
