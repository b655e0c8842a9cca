"""Open and run the files that `tanet export` writes."""
