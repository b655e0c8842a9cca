"""One training step: forward and backward pass in parts, gradient clipping, and the weight update.

A step is skipped if its loss or gradient is not finite. A flag on the GPU marks such a step. The kernel of a
fused optimizer reads the flag and leaves weights and momenta unchanged, and the running statistics of the
BatchNorms are restored. The step reads the flag only on the GPU, so the host does not wait for the GPU.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.network import Network
from tanet.recipes.recipe import Optim
from tanet.runtime.device import autocast
from tanet.runtime.distributed import ProcessGroup
from tanet.training.gradient_sync import GradientSync


@dataclass(frozen=True)
class StepResult:
    """The results of a training step, as tensors on the training device."""

    loss: torch.Tensor
    """Mean loss over this rank's batch."""
    logits: torch.Tensor
    """Logits of this rank's batch: [B, classes]."""
    bad: torch.Tensor
    """1 if the step was skipped because the loss or gradient of a rank was not finite; else 0."""


class TrainStep:
    """Function that makes one training step per call.

    Args:
        network: the network to train, on its device. Each rank has its own BatchNorm statistics. Validation
            and checkpoints use the BatchNorm statistics of rank 0.
        optimizer: a fused optimizer, because only the kernel of a fused optimizer can skip a step.
        optim: optimizer settings. Only `accumulate`, `clip_norm`, `precision` and `smoothing` are used.
        group: the ranks over which gradients are averaged.
        compile: whether to compile the network with torch.compile.
    """

    def __init__(
        self,
        network: Network,
        *,
        optimizer: torch.optim.Optimizer,
        optim: Optim,
        group: ProcessGroup,
        compile: bool,
    ) -> None:
        self.optimizer, self.optim = optimizer, optim
        self.params = [param for param in network.parameters() if param.requires_grad]
        self.device = self.params[0].device
        several = group.world_size * optim.accumulate > 1
        self.gradients = GradientSync(network, group=group) if several else None
        # With several ranks, GradientSync has just copied the running statistics of rank 0 to all ranks.
        self.statistics = _RunningStatistics(network)
        # Do not use CUDA graphs with SyncBatchNorm, because its forward pass communicates with other ranks.
        synced = any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
        self.graphed = compile and self.device.type == "cuda" and not synced
        self.model: nn.Module = network
        if compile:
            mode = "reduce-overhead" if self.graphed else None
            self.model = torch.compile(network, dynamic=False, mode=mode)  # type: ignore[assignment]

    def __call__(
        self, views: torch.Tensor, labels: torch.Tensor, *, boxes: torch.Tensor | None = None
    ) -> StepResult:
        """Make one step on views [B, T, 3, S, S], labels [B] and boxes [B, T/2, R, 4], all on the device."""
        size = -(-len(labels) // self.optim.accumulate)
        inputs = [(clips,) for clips in views.split(size)]
        if boxes is not None:
            inputs = list(zip(views.split(size), boxes.split(size), strict=True))
        pairs = list(zip(inputs, labels.split(size), strict=True))
        self.optimizer.zero_grad()
        parts = [
            self._part(clips, answers, share=len(answers) / len(labels), number=number, of=len(pairs))
            for number, (clips, answers) in enumerate(pairs)
        ]
        # The call also measures the norm, so it is needed without a maximum as well.
        norm = nn.utils.clip_grad_norm_(self.params, self.optim.clip_norm or math.inf)
        bad = (~norm.isfinite()).float()
        self.statistics.settle(bad)
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]
        self.optimizer.step()
        losses, logits = zip(*parts, strict=True)
        return StepResult(torch.stack(losses).sum(), torch.cat(logits), bad)

    def _part(
        self, clips: tuple[torch.Tensor, ...], labels: torch.Tensor, *, share: float, number: int, of: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the gradients of one part of the batch. Return the part's share of the loss and its logits.

        Args:
            clips: clips of the part, [b, T, 3, S, S], and perhaps the boxes of their regions.
            labels: labels of the clips: [b].
            share: fraction of the batch that is in this part.
            number: number of the part, from 0.
            of: number of parts.
        """
        if self.graphed:
            torch.compiler.cudagraph_mark_step_begin()
        with autocast(self.device, self.optim.precision):
            logits = self.model(*clips)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.optim.smoothing) * share
        meeting = self.gradients.part(first=number == 0, last=number == of - 1) if self.gradients else None
        with meeting or nullcontext():
            # A loss that is not finite can have a finite gradient, so multiply such a loss by NaN.
            # Averaging the gradients over the ranks spreads the NaN, so that all ranks skip the step.
            (loss * torch.where(loss.isfinite(), 1.0, torch.nan)).backward()
        # Copy the logits, because the CUDA graph overwrites them when it runs on the next part of the batch.
        kept = logits.detach().clone() if self.graphed and of > 1 else logits.detach()
        return loss.detach(), kept


class _RunningStatistics:
    """Copy of the BatchNorms' running statistics.

    A skipped step may fill the running statistics with NaN. `settle` then restores them from the copy.
    """

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
