"""Exported networks: files of other runtimes, as `tanet export` writes them, opened and run."""
