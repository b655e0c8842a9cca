"""Record and draw the gates and kernels that TAM computes for a clip."""
