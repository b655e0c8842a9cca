"""Scoring of videos: the network scores each view, and the scores of a video's views are averaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from tanet.data.normalisation import normalise
from tanet.evaluation import metrics
from tanet.models.network import Network
from tanet.recipes.input_spec import IMAGENET, InputSpec
from tanet.recipes.recipe import Eval
from tanet.runtime.device import autocast
from tanet.runtime.events import Note, OnEvent, ignore

Precision = Literal["float32", "bfloat16"]


class Scorer:
    """Callable that scores B videos with V clips each.

    It maps the views, uint8 [B, V·crops, T, 3, S, S], to probabilities [B, classes] on the CPU. The network
    processes at most `eval.batch` views at once. If a GPU runs out of memory, the scorer halves this number
    for the rest of the run. This changes the scores only by rounding.

    Args:
        network: module in evaluation mode that maps clips [B, T, 3, H, W] to logits. Its attribute
            `input_spec` defines how clips are normalised. A network without this attribute gets ImageNet's
            normalisation.
        eval: the scorer uses only the fields `average`, `batch` and `clip_frames`.
        precision: floating-point precision of the forward pass on a GPU.
        on_event: called with a `Note` when the number of views is halved.

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
        self.takes_frames: bool = getattr(network, "takes_frames", False)
        self.precision: Precision = precision
        self.batch = eval.batch
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def __call__(self, views: torch.Tensor, *, boxes: torch.Tensor | None = None) -> torch.Tensor:
        """Score B videos. The docstring of the class lists the shapes.

        Args:
            views: the views.
            boxes: boxes of the views' regions, [B, V·crops, T/2, R, 4], for a network that takes them.
        """
        with clip_length(self.network, self.eval.clip_frames):
            return self._scores(views, boxes)

    def _scores(self, views: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        flat = views.flatten(0, 1)  # [B·V·crops, T, 3, S, S]
        regions = None if boxes is None else boxes.flatten(0, 1)
        while (logits := self._logits(flat, regions)) is None:
            self.batch = min(self.batch, len(flat)) // 2
            torch.cuda.empty_cache()
            self.on_event(Note(f"out of GPU memory: using {self.batch} views per forward pass from now on"))
        return metrics.average(logits.unflatten(0, views.shape[:2]), how=self.eval.average).cpu()

    def _logits(self, views: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor | None:
        """Compute logits [B·V·crops, classes]. If GPU memory runs out, free the results and return None."""
        logits = []
        try:
            for number, part in enumerate(views.split(self.batch)):
                given = () if boxes is None else (boxes.split(self.batch)[number].to(self.device),)
                clips = part.to(self.device, non_blocking=True)
                if not self.takes_frames:
                    clips = normalise(clips, self.spec)
                with autocast(self.device, self.precision):
                    logits.append(self.network(clips, *given).float())
                del clips
        except torch.OutOfMemoryError:
            if min(self.batch, len(views)) == 1:
                raise
            return None
        return torch.cat(logits)


@contextmanager
def clip_length(network: nn.Module, frames: int) -> Iterator[None]:
    """Let a network take clips of another length within a `with` block; 0 keeps its own."""
    if not frames or not isinstance(network, Network) or network.frames == frames:
        yield
        return
    before = network.frames
    network.set_frames(frames)
    try:
        yield
    finally:
        network.set_frames(before)


def video_scores(
    network: nn.Module,
    views: torch.Tensor,
    *,
    eval: Eval,
    precision: Precision = "float32",
    boxes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Score B videos: uint8 views [B, V·crops, T, 3, S, S] → probabilities [B, classes] on the CPU."""
    return Scorer(network, eval=eval, precision=precision)(views, boxes=boxes)
