"""Files of weights: tanet's checkpoint format, initialisation, and conversion from and to other codebases."""
