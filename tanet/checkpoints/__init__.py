"""Saving and loading of checkpoints and initial weights, and conversion from and to other projects."""
