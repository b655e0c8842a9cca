"""Code shared by the operations: reshaping to clips, BatchNorm values, choice of backend, Triton helpers."""
