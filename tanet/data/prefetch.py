"""Batches on the device, one ahead: while the network works on one, the next is moved, made and normalised.

On a GPU that goes on in a stream of its own, so that copying and cutting views take what the step leaves
free. On a CPU it is a plain loop.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import torch

from tanet.data.gpu_transforms import RawViews, Views, make_views
from tanet.data.transforms import normalise


class Waited:
    """Passes batches on, and counts the seconds that it waits for them.

    Put between a feed and `on_device`, it does not count what that waits for the GPU.
    """

    def __init__(self, batches: Iterable[tuple[Views, torch.Tensor]]) -> None:
        self.batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[tuple[Views, torch.Tensor]]:
        batches = iter(self.batches)
        while True:
            started = time.monotonic()
            batch = next(batches, None)
            self.seconds += time.monotonic() - started
            if batch is None:
                return
            yield batch


@dataclass(frozen=True)
class _Ahead:
    """A batch that may still be on its way, and the event that says when it is there."""

    views: torch.Tensor
    labels: torch.Tensor
    there: torch.cuda.Event

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Let the stream of the network wait for it, and its memory for that stream."""
        stream = torch.cuda.current_stream(self.views.device)
        stream.wait_event(self.there)
        self.views.record_stream(stream)
        self.labels.record_stream(stream)
        return self.views, self.labels


def on_device(
    batches: Iterable[tuple[Views, torch.Tensor]], device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Normalised views, float32 [B, T, 3, S, S], and labels, int64 [B], of a `Feed`'s batches.

    Use a batch in the stream that is current when it is asked for. The batch after it is asked for before it
    is handed out, so errors of `batches` come one batch early.
    """
    if device.type != "cuda":
        for views, labels in batches:
            yield _prepared(views, labels, device)
        return
    side = _side_stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    ahead: _Ahead | None = None
    steps: deque[torch.cuda.Event] = deque(maxlen=2)  # the ends of the last two steps
    for views, labels in batches:
        if len(steps) == 2:
            # Else a quick feed would fill the GPU's memory. The last step still runs meanwhile.
            steps[0].synchronize()
        with torch.cuda.stream(side):
            there = torch.cuda.Event()
            coming = _Ahead(*_prepared(views, labels, device), there)
            there.record()
        if ahead is not None:
            yield ahead.take()
            steps.append(torch.cuda.Event(blocking=True))
            steps[-1].record(torch.cuda.current_stream(device))
        ahead = coming
    if ahead is not None:
        yield ahead.take()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all epochs: PyTorch keeps freed memory for the stream that took it, and no other gets it."""
    return torch.cuda.Stream(device)


def _prepared(views: Views, labels: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(views, RawViews):
        made = make_views(views.to(device))
    else:
        made = views.to(device, non_blocking=True)
    return normalise(made), labels.to(device, non_blocking=True)
