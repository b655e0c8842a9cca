"""Operations that shift channels along time: the shift of TSM, and sums of shifted maps."""
