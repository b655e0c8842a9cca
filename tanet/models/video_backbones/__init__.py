"""Networks with three-dimensional convolutions: I3D, non-local networks, SlowOnly, SlowFast, X3D."""
