"""What `tanet data` does: index public data sets, check videos, pack them into shards."""
