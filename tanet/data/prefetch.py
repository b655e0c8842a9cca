"""Prefetching to the device: while the network processes a batch, the next one is copied and normalised.

On a GPU, copying and making views run in a separate stream, to use the capacity that the step leaves idle.
On a CPU, prefetching is a plain loop.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch

from tanet.data.gpu_transforms import DeferredViews, make_views
from tanet.data.loader import Batch
from tanet.data.transforms import normalise
from tanet.recipes.input_spec import IMAGENET, InputSpec


def timed(batches: Iterable[Batch], add_wait: Callable[[float], None]) -> Iterator[Batch]:
    """Yield the batches, and report the seconds spent waiting for each to `add_wait`.

    Wrap the loader, not `prefetch_to_device`: then time spent waiting for the GPU is not counted.
    """
    remaining = iter(batches)
    while True:
        started = time.monotonic()
        batch = next(remaining, None)
        add_wait(time.monotonic() - started)
        if batch is None:
            return
        yield batch


@dataclass(frozen=True)
class _PendingBatch:
    """A batch whose copy to the device may still be running, and the event that marks the end of the copy."""

    batch: Batch
    ready: torch.cuda.Event

    def take(self) -> Batch:
        """Make the current stream wait for the copy, and register the memory as in use by that stream."""
        assert isinstance(self.batch.views, torch.Tensor)
        stream = torch.cuda.current_stream(self.batch.views.device)
        stream.wait_event(self.ready)
        self.batch.views.record_stream(stream)
        self.batch.labels.record_stream(stream)
        return self.batch


def prefetch_to_device(
    batches: Iterable[Batch], device: torch.device, spec: InputSpec = IMAGENET
) -> Iterator[Batch]:
    """Move batches of a `ClipLoader` to the device and normalise them, one ahead of the network.

    Views become float32 [B, T, 3, S, S]. Use a batch in the stream that is current when it is requested.
    The next batch is requested before a batch is yielded, so errors of `batches` are raised one batch early.

    Args:
        batches: batches of uint8 views, or of deferred views that the device has yet to make.
        device: device of the network.
        spec: normalisation that the network expects.
    """
    if device.type != "cuda":
        for batch in batches:
            yield _prepared(batch, device, spec)
        return
    side = _side_stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    ahead: _PendingBatch | None = None
    steps: deque[torch.cuda.Event] = deque(maxlen=2)  # the ends of the last two steps
    for batch in batches:
        if len(steps) == 2:
            # Wait for the step before the latest, or a fast loader would fill the GPU's memory with batches.
            # The latest step keeps running meanwhile.
            steps[0].synchronize()
        with torch.cuda.stream(side):
            ready = torch.cuda.Event()
            coming = _PendingBatch(_prepared(batch, device, spec), ready)
            ready.record()
        if ahead is not None:
            yield ahead.take()
            steps.append(torch.cuda.Event(blocking=True))
            steps[-1].record(torch.cuda.current_stream(device))
        ahead = coming
    if ahead is not None:
        yield ahead.take()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream for all epochs: PyTorch reuses freed memory only in the stream that allocated it."""
    return torch.cuda.Stream(device)


def _prepared(batch: Batch, device: torch.device, spec: InputSpec) -> Batch:
    """Copy a batch to the device, make its views there if they are deferred, and normalise them."""
    views = batch.views
    if isinstance(views, DeferredViews):
        made = make_views(views.to(device))
    else:
        made = views.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    return replace(batch, views=normalise(made, spec), labels=labels)
