"""Videos packed into tar shards: the file format, and random access to the videos."""
