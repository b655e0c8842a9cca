"""A whole TAM in evaluation, in three or four launches."""
