"""Data class for a video whose label is still text, as in a list or in the name of a class folder."""

from dataclasses import dataclass
from pathlib import Path

from tanet.data.shards.format import ShardEntry


@dataclass(frozen=True)
class ListedVideo:
    """A video and its label, before the label is converted to an integer."""

    path: Path
    label: str
    """Class name, or a number that counts the classes from 0."""
    frames: int | None = None
    shard_entry: ShardEntry | None = None
