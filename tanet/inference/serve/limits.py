"""What a request to the server may cost. Without Starlette, so that the command's help works without it."""

from dataclasses import dataclass, field

from tanet.runtime.device import available_cores

MEGABYTE = 1_000_000
MOST_SHAPE = 16
"""Largest ratio of the sides of a frame."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost."""

    megabytes: float = 1000.0
    """Largest video, in MB."""
    seconds: float = 3600.0
    """Longest video, in seconds."""
    megapixels: float = 9.0
    """Largest frame: 4096 × 2160 is 8.8."""
    upload_seconds: float = 300.0
    """Longest time to send a video."""
    idle_seconds: float = 20.0
    """Longest time without a byte while a video is sent."""
    waiting: int = 32
    """Requests at work at once. Further ones get 503."""
    batch: int = 16
    """Most requests in one forward pass."""
    workers: int = field(default_factory=lambda: min(4, available_cores()))
    """Threads that decode."""

    def problem(self, *, height: int, width: int) -> str:
        """Return why frames of this size are not accepted, or "" if they are."""
        if height * width > self.megapixels * MEGABYTE:
            return f"frames of more than {self.megapixels:g} megapixels are not accepted"
        if max(height, width) > MOST_SHAPE * min(height, width):
            # Their short side is resized to that of the network, and the long side grows with it.
            return f"frames with a side more than {MOST_SHAPE} times as long as the other are not accepted"
        return ""
