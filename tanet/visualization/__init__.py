"""Recording and drawing of the gates and kernels that TAM computes for a clip."""
