"""Code shared by the operators: clips, BatchNorm values, dispatch, Triton tiles."""
