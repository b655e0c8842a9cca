"""Measure the time that a network takes for a batch of clips, and the memory that the network needs."""

import time
from dataclasses import dataclass
from typing import Literal

import torch

from tanet.errors import UserError
from tanet.models.network import Network
from tanet.runtime.device import autocast

WARM_UP = 2  # number of untimed runs, in which PyTorch selects kernels and allocates memory


AT_LEAST, AT_MOST, ENOUGH = 5, 100, 3.0  # minimum runs, maximum runs, seconds after which to stop


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time for one batch, in seconds. Transfers to and from a GPU are not included."""

    batch: int
    """Clips per batch."""
    precision: Literal["float32", "bfloat16"]
    runs: int
    """Number of timed runs."""
    p20: float
    p50: float
    p80: float
    peak_memory: int | None
    """Peak memory of all tensors on the GPU, including weights and clips, in bytes. None on a CPU, where
    PyTorch does not track memory."""


@torch.inference_mode()
def measure_latency(
    network: Network, *, size: int, batch: int, precision: Literal["float32", "bfloat16"]
) -> Latency:
    """Time a network on random clips, on its current device. Other load on the machine distorts the result.

    Args:
        network: network to time. It is set to evaluation mode and stays in that mode.
        size: side of the square frames, in pixels.
        batch: clips per batch.
        precision: autocast precision on a GPU, as in testing. A CPU always computes in float32.

    Raises:
        UserError: size or batch is not positive.
    """
    if min(size, batch) < 1:
        raise UserError(f"size and batch must be positive, not {size} and {batch}")
    network.eval()
    device = next(network.parameters()).device
    clips = torch.randn(batch, network.frames, network.channels, size, size, device=device)
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


def _run(network: Network, clips: torch.Tensor) -> float:
    """Run the network once and return the time in seconds, including the wait for the GPU to finish."""
    start = time.perf_counter()
    network(clips)
    if clips.device.type != "cpu":
        torch.accelerator.synchronize(clips.device)
    return time.perf_counter() - start
