"""Implementation of `tanet data`: index public data sets, check videos, pack them into shards."""
