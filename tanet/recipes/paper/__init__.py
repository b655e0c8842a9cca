"""The tables of the paper, one a file; each row is a recipe with the published figures."""
