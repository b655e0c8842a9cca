"""The tables of the paper, one per file. Each row is a recipe with the published results."""
