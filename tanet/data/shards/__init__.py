"""File format of tar shards that contain packed videos, and random access to the videos."""
