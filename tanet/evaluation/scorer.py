"""Score the views of videos: one forward pass, averaged over the views of each video."""

from typing import Literal

import torch
from torch import nn

from tanet.data.transforms import normalise
from tanet.evaluation import metrics
from tanet.recipes.input_spec import IMAGENET, InputSpec
from tanet.recipes.recipe import Eval
from tanet.runtime.device import autocast
from tanet.runtime.events import Note, OnEvent, ignore

Precision = Literal["float32", "bfloat16"]


class Scorer:
    """Scores views of videos: uint8 [B, V·crops, T, 3, S, S] → probabilities [B, classes] on the CPU.

    At most `eval.batch` views go through the network together. When a GPU runs out of memory, their number
    is halved from then on; that changes the scores by rounding only.

    Args:
        network: clips [B, T, 3, H, W] → logits, in evaluation mode; its `input_spec` says how clips are
            normalised (ImageNet's values if it has none).
        eval: its `average` and `batch` count.
        precision: on a GPU.
        on_event: is told a `Note` when the number of views is halved.

    Raises:
        torch.OutOfMemoryError: the GPU has too little memory for one view.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        eval: Eval,
        precision: Precision,
        on_event: OnEvent = ignore,
    ) -> None:
        self.network, self.eval, self.on_event = network, eval, on_event
        self.spec: InputSpec = getattr(network, "input_spec", IMAGENET)
        self.precision: Precision = precision
        self.batch = eval.batch
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def __call__(self, views: torch.Tensor) -> torch.Tensor:
        """Score views of B videos; the shapes stand at the class."""
        flat = views.flatten(0, 1)  # [B·V·crops, T, 3, S, S]
        while (logits := self._logits(flat)) is None:
            self.batch = min(self.batch, len(flat)) // 2
            torch.cuda.empty_cache()
            self.on_event(Note(f"too little memory: from now on {self.batch} views go through together"))
        return metrics.average(logits.unflatten(0, views.shape[:2]), how=self.eval.average).cpu()

    def _logits(self, views: torch.Tensor) -> torch.Tensor | None:
        """Compute logits [B·V·crops, classes]; on too little memory free all of it and return None."""
        logits = []
        try:
            for part in views.split(self.batch):
                clips = normalise(part.to(self.device, non_blocking=True), self.spec)
                with autocast(self.device, self.precision):
                    logits.append(self.network(clips).float())
                del clips
        except torch.OutOfMemoryError:
            if min(self.batch, len(views)) == 1:
                raise
            return None
        return torch.cat(logits)


def video_scores(
    network: nn.Module, views: torch.Tensor, *, eval: Eval, precision: Precision = "float32"
) -> torch.Tensor:
    """Score B videos: uint8 views [B, V·crops, T, 3, S, S] → probabilities [B, classes] on the CPU."""
    return Scorer(network, eval=eval, precision=precision)(views)
