"""What the operators share: clips, BatchNorm as numbers, dispatch, Triton tiles."""
