"""Sites of a 2D network where a temporal module can be inserted, and the hooks that insert it."""
