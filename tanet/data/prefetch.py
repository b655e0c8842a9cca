"""Prefetch batches: while the network processes a batch, copy the next batch to the device and normalise it.

On a GPU, a separate stream copies and prepares batches, to use the capacity that the training step leaves
idle. On a CPU, nothing runs ahead: each batch is prepared when the network needs the batch.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch

from tanet.data.gpu_transforms import DeferredViews, make_views
from tanet.data.loader import Batch
from tanet.data.normalisation import normalise
from tanet.recipes.input_spec import IMAGENET, InputSpec


def timed(batches: Iterable[Batch], add_wait: Callable[[float], None]) -> Iterator[Batch]:
    """Yield the batches. Before each batch, call `add_wait` with the seconds spent waiting for the batch.

    Apply this function to the loader, not to the result of `prefetch_to_device`: otherwise the time spent
    waiting for the GPU is counted, too.
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
    """A batch whose copy to the device may still be running. The event `ready` marks the end of the copy."""

    batch: Batch
    ready: torch.cuda.Event

    def take(self) -> Batch:
        """Make the current stream wait for the copy, and mark the batch's memory as used by this stream."""
        assert isinstance(self.batch.views, torch.Tensor)
        stream = torch.cuda.current_stream(self.batch.views.device)
        stream.wait_event(self.ready)
        self.batch.views.record_stream(stream)
        self.batch.labels.record_stream(stream)
        if self.batch.boxes is not None:
            self.batch.boxes.record_stream(stream)
        return self.batch


def prefetch_to_device(
    batches: Iterable[Batch], device: torch.device, spec: InputSpec | None = IMAGENET
) -> Iterator[Batch]:
    """Move the batches of a `ClipLoader` to the device and normalise them, one batch ahead of the network.

    The views become float32 [B, T, 3, S, S]. Use each batch in the CUDA stream that was current when you
    requested the batch. On a GPU, the function requests the next batch from `batches` before it yields the
    current batch. So an error that occurs in `batches` is raised one batch early.

    Args:
        batches: batches of uint8 views, or of `DeferredViews`, from which the device makes the views.
        device: device of the network.
        spec: input specification of the network, which defines the normalisation; with None,
            pixels keep their range of 0 to 255: uint8, or float32 if the device makes the views.
    """
    if device.type != "cuda":
        for batch in batches:
            yield _prepared(batch, device, spec)
        return
    side = _side_stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    ahead: _PendingBatch | None = None
    steps: deque[torch.cuda.Event] = deque(maxlen=2)  # recorded after the last two steps
    for batch in batches:
        if len(steps) == 2:
            # Wait for the second-last step: otherwise a fast loader would fill the GPU's memory with batches.
            # Let the last step run during this wait, so that the GPU stays busy.
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
    """Return the stream in which batches are copied. All epochs use the same stream.

    PyTorch reuses freed memory only in the stream that allocated the memory.
    """
    return torch.cuda.Stream(device)


def _prepared(batch: Batch, device: torch.device, spec: InputSpec | None) -> Batch:
    """Copy a batch to the device, make deferred views, and normalise the views if `spec` is given."""
    views = batch.views
    if isinstance(views, DeferredViews):
        made = make_views(views.to(device))
    else:
        made = views.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    boxes = None if batch.boxes is None else batch.boxes.to(device, non_blocking=True)
    return replace(batch, views=normalise(made, spec) if spec else made, labels=labels, boxes=boxes)
