"""What TAM does in a clip, recorded and drawn."""
