"""What tests share: tiny videos, trainings, processes, checkpoints of other codebases."""
