"""Published weights by name: the index, the download, the cache."""
