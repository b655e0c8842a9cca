"""Helpers shared by the tests: tiny videos, trainings, rank processes, checkpoints of other codebases."""
