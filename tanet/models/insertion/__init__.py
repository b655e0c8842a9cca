"""Where a temporal module can enter a 2D network, and the hooks that plug it in."""
