"""Files of weights: our own format, initialisation, and conversion from and to other codebases."""
