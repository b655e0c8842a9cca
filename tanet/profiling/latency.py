"""Measure the time that a network takes for a batch of clips, and the memory that it needs."""

import time
from dataclasses import dataclass
from typing import Literal

import torch

from tanet.errors import UserError
from tanet.models.video_net import VideoNet
from tanet.runtime.device import autocast

WARM_UP = 2  # untimed runs: PyTorch selects kernels and allocates memory in them


AT_LEAST, AT_MOST, ENOUGH = 5, 100, 3.0  # minimum runs, maximum runs, seconds after which to stop


@dataclass(frozen=True)
class Latency:
    """Time for one batch in seconds, from clips on the device to logits on the device, as percentiles."""

    batch: int
    """Clips per batch."""
    precision: Literal["float32", "bfloat16"]
    runs: int
    """Number of timed runs."""
    p20: float
    p50: float
    p80: float
    peak_memory: int | None
    """Peak memory of all tensors on the GPU in bytes, including weights and clips; None on a CPU, where
    PyTorch does not track it."""


@torch.inference_mode()
def measure_latency(
    network: VideoNet, *, size: int, batch: int, precision: Literal["float32", "bfloat16"]
) -> Latency:
    """Time a network on random clips, on its current device. Other load on the machine distorts the result.

    Args:
        network: the network; it is left in evaluation mode.
        size: side of the square frames, in pixels.
        batch: clips per batch.
        precision: autocast precision on a GPU, as in testing; a CPU always computes in float32.

    Raises:
        UserError: size or batch is not positive.
    """
    if min(size, batch) < 1:
        raise UserError(f"size and batch must be positive, not {size} and {batch}")
    network.eval()
    device = next(network.parameters()).device
    clips = torch.randn(batch, network.frames, 3, size, size, device=device)
    seconds: list[float] = []
    with autocast(device, precision):
        for _ in range(WARM_UP):
            _run(network, clips)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        while len(seconds) < AT_LEAST or (sum(seconds) < ENOUGH and len(seconds) < AT_MOST):
            seconds.append(_run(network, clips))
    p20, p50, p80 = torch.tensor(seconds).quantile(torch.tensor([0.2, 0.5, 0.8])).tolist()
    if device.type != "cuda":
        return Latency(batch, "float32", len(seconds), p20, p50, p80, None)
    return Latency(batch, precision, len(seconds), p20, p50, p80, torch.cuda.max_memory_allocated(device))


def _run(network: VideoNet, clips: torch.Tensor) -> float:
    """Return the seconds from clips to logits. GPU calls are asynchronous: wait for the GPU to finish."""
    start = time.perf_counter()
    network(clips)
    if clips.device.type != "cpu":
        torch.accelerator.synchronize(clips.device)
    return time.perf_counter() - start
