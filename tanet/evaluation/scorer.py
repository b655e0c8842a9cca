"""Score the views of videos: one forward pass, averaged over the views of each video."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from tanet.data.transforms import normalise
from tanet.evaluation import metrics
from tanet.recipes.recipe import Eval
from tanet.runtime.device import autocast

Precision = Literal["float32", "bfloat16"]


class Scorer:
    """Views uint8 [B, V·crops, T, 3, S, S] of B videos → probabilities [B, classes] on the CPU.

    At most `eval.batch` views go through the network together. Where a GPU has too little memory for them,
    half as many do from then on; the scores depend on that by rounding alone.

    Args:
        network: clips [B, T, 3, H, W] → logits, in evaluation mode.
        eval: its `fuse` and `batch` count.
        precision: on a GPU.
        note: is told a line when there are fewer.

    Raises:
        torch.OutOfMemoryError: the GPU has too little memory for one view.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        eval: Eval,
        precision: Precision,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.network, self.eval, self.note = network, eval, note
        self.precision: Precision = precision
        self.batch = eval.batch
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def __call__(self, views: torch.Tensor) -> torch.Tensor:
        flat = views.flatten(0, 1)  # [B·V·crops, T, 3, S, S]
        while (logits := self._logits(flat)) is None:
            self.batch = min(self.batch, len(flat)) // 2
            torch.cuda.empty_cache()
            if self.note:
                self.note(f"too little memory: from now on {self.batch} views go through together")
        return metrics.fuse(logits.unflatten(0, views.shape[:2]), how=self.eval.fuse).cpu()

    def _logits(self, views: torch.Tensor) -> torch.Tensor | None:
        """[B·V·crops, classes]; None if the memory does not suffice. What took it is free by then."""
        logits = []
        try:
            for part in views.split(self.batch):
                with autocast(self.device, self.precision):
                    logits.append(self.network(normalise(part.to(self.device, non_blocking=True))).float())
        except torch.OutOfMemoryError:
            if min(self.batch, len(views)) == 1:
                raise
            return None
        return torch.cat(logits)


def video_scores(
    network: nn.Module, views: torch.Tensor, *, eval: Eval, precision: Precision = "float32"
) -> torch.Tensor:
    """Probabilities [B, classes] on the CPU, from uint8 views [B, V·crops, T, 3, S, S] of B videos."""
    return Scorer(network, eval=eval, precision=precision)(views)
