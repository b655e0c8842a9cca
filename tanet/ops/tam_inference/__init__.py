"""TAM in evaluation mode, computed with three or four kernel launches."""
