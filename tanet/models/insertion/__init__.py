"""Find the places in a 2D network where temporal modules can be inserted, and insert them with hooks."""
