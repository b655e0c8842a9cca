"""The training loop and its parts: optimizer, schedule, gradient averaging, states and validation."""
