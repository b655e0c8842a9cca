"""A complete TAM in evaluation, in three or four kernel launches."""
