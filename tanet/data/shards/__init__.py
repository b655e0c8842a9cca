"""Videos packed into tar shards: the format, and random access to it."""
