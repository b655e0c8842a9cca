"""One step of the optimizer: forward and backward pass in parts, the gradient's norm, and the weights.

What is not finite moves nothing: the optimizer's kernel reads a flag on the device and leaves weights and
momenta as they are, and BatchNorm's running statistics are put back. The host never waits for that flag.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tanet.device import autocast
from tanet.distributed import Peers
from tanet.network import VideoNet
from tanet.recipe import Optim


@dataclass(frozen=True)
class Made:
    """What came of a step, on the device."""

    loss: torch.Tensor
    """Mean over the process's batch."""
    logits: torch.Tensor
    """[B, classes]."""
    bad: torch.Tensor
    """1 if loss or gradient were not finite in any process, so that no step was made; else 0."""


class Stepper:
    """Makes steps.

    Args:
        network: to be trained, on its device. Running statistics stay each process's own: those of the first
            are tested and saved.
        optimizer: fused, which is what reads the flag.
        optim: its `accumulate`, `clip_norm` and `precision` count.
        peers: the processes over which gradients are averaged.
        compile: the network by torch.compile.
    """

    def __init__(
        self,
        network: VideoNet,
        *,
        optimizer: torch.optim.Optimizer,
        optim: Optim,
        peers: Peers,
        compile: bool,
    ) -> None:
        self.optimizer, self.optim = optimizer, optim
        gpu = network.head.weight.is_cuda
        self.model: nn.Module = network
        self.parallel: DistributedDataParallel | None = None
        if peers.world > 1:
            ids = [network.head.weight.device.index] if gpu else None
            self.model = self.parallel = DistributedDataParallel(
                network, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        # CUDA graphs reuse the memory of gradients, which several parts and processes hold on to.
        self.graphed = compile and gpu and peers.world == optim.accumulate == 1
        if compile:
            mode = "reduce-overhead" if self.graphed else None
            self.model = torch.compile(self.model, dynamic=False, mode=mode)  # type: ignore[assignment]
        self.params = list(network.parameters())
        self.device = self.params[0].device
        self.statistics = _Statistics(network)

    def __call__(self, views: torch.Tensor, labels: torch.Tensor) -> Made:
        """Make a step on views [B, T, 3, S, S] and labels [B], both on the device."""
        size = -(-len(labels) // self.optim.accumulate)
        pairs = list(zip(views.split(size), labels.split(size), strict=True))
        self.optimizer.zero_grad()
        parts = [
            self._part(clips, answers, share=len(answers) / len(labels), last=number == len(pairs) - 1)
            for number, (clips, answers) in enumerate(pairs)
        ]
        norm = nn.utils.clip_grad_norm_(self.params, self.optim.clip_norm)
        bad = (~norm.isfinite()).float()
        self.statistics.settle(bad)
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]
        self.optimizer.step()
        losses, logits = zip(*parts, strict=True)
        return Made(torch.stack(losses).sum(), torch.cat(logits), bad)

    def _part(
        self, clips: torch.Tensor, labels: torch.Tensor, *, share: float, last: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of a part of the batch; its share of the loss, and its logits."""
        if self.graphed:
            torch.compiler.cudagraph_mark_step_begin()
        # The processes' gradients meet once a step, with the last part's.
        with self.parallel.no_sync() if self.parallel and not last else nullcontext():
            with autocast(self.device, self.optim.precision):
                logits = self.model(clips)
                loss = F.cross_entropy(logits, labels) * share
            # A loss that is not finite can have a finite gradient. This makes it NaN, with the mean over the
            # processes in all of them, so that all decide alike.
            (loss * torch.where(loss.isfinite(), 1.0, torch.nan)).backward()
        return loss.detach(), logits.detach()


class _Statistics:
    """BatchNorm's running statistics, put back where a step is not made: its maps may have been NaN."""

    def __init__(self, network: nn.Module) -> None:
        self.buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self.sizes = [buffer.numel() for buffer in self.buffers]
        self.kept = self._now()

    def settle(self, bad: torch.Tensor) -> None:
        if not self.buffers:
            return
        self.kept = torch.where(bad.bool(), self.kept, self._now())
        parts = [part.view_as(b) for part, b in zip(self.kept.split(self.sizes), self.buffers, strict=True)]
        torch._foreach_copy_(self.buffers, parts)  # type: ignore[reportPrivateImportUsage]

    def _now(self) -> torch.Tensor:
        return torch.cat([buffer.flatten() for buffer in self.buffers]) if self.buffers else torch.empty(0)
