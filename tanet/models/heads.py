"""Consensus by relations (TRN): features of the frames of a clip → input of the classifier.

    TRN                h   = relu(W relu([x_1, …, x_T]))

    multi-scale TRN    h_s = Σ over subsets of s frames: relu(W_s relu([x_i1, …, x_is])),    s = T, …, 2

Frames of a subset are in the order of time. TRN's logits are V h + b; those of the multi-scale TRN are
the sum of V_s h_s + n_s b_s, where n_s is the number of subsets: all T frames once, and up to three subsets
of each smaller size, drawn anew in each training step. Zhou, Andonian, Oliva and Torralba, "Temporal
Relational Reasoning in Videos", ECCV 2018, with the layers of the authors' code.
"""

import math
import random
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError

DRAWN = 3
"""Largest number of subsets of a size."""
HIDDEN, HIDDEN_MULTISCALE = 512, 256


class Relations(nn.Module):
    """Features of relations between frames, [B, T, D] → [B, sizes · H], H: 512 for one size, otherwise 256.

    Args:
        features: D, features of a frame.
        frames: T, frames per clip.
        multiscale: whether smaller subsets than all T frames are related, too.
        draw: how subsets are drawn in evaluation mode. same: one fixed set, so that results are
            reproducible. published: drawn again from NumPy's global generator for each batch.
    """

    def __init__(
        self, features: int, *, frames: int, multiscale: bool, draw: Literal["same", "published"]
    ) -> None:
        super().__init__()
        if frames < 2:
            raise UserError(f"TRN relates frames: model.frames must be at least 2, not {frames}")
        self.frames, self.draw = frames, draw
        self.sizes = tuple(range(frames, 1, -1)) if multiscale else (frames,)
        self.hidden = HIDDEN_MULTISCALE if multiscale else HIDDEN
        self.layers = nn.ModuleList(nn.Linear(size * features, self.hidden) for size in self.sizes)
        fixed = random.Random(0)
        for size in self.sizes:
            picks = fixed.sample(range(math.comb(frames, size)), self.count(size))
            subsets = torch.tensor([combination(frames, size, pick) for pick in picks])
            self.register_buffer(f"subsets_{size}", subsets, persistent=False)

    def count(self, size: int) -> int:
        """Return the number of subsets of `size` frames that are related."""
        return min(DRAWN, math.comb(self.frames, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Relate the frames of each clip; the class docstring gives the shapes."""
        anew = self.training or self.draw == "published"
        subsets: list[torch.Tensor] | None = None
        if anew and len(self.sizes) > 1:
            subsets = torch.compiler.disable(self._draw)(x.device)  # type: ignore[arg-type, assignment]
        found = []
        for number, (size, layer) in enumerate(zip(self.sizes, self.layers, strict=True)):
            chosen = self.get_buffer(f"subsets_{size}") if subsets is None else subsets[number]  # [n, s]
            rows = F.relu(x[:, chosen].flatten(2))  # [B, n, s·D]
            found.append(F.relu(layer(rows)).sum(1))
        return torch.cat(found, 1)

    def _draw(self, device: torch.device) -> list[torch.Tensor]:
        """Draw the subsets of each size."""
        own = random.Random(int(torch.randint(2**31, ())))
        found = []
        for size in self.sizes:
            number = math.comb(self.frames, size)
            if number == 1:
                picks = [0]
            elif self.training:
                picks = own.sample(range(number), self.count(size))
            else:
                picks = np.random.choice(number, self.count(size), replace=False).tolist()
            found.append(
                torch.tensor([combination(self.frames, size, pick) for pick in picks], device=device)
            )
        return found


class RelationClassifier(nn.Linear):
    """Sum of one linear classifier per subset size, [B, sizes · H] → logits [B, classes].

    `weight` [classes, sizes · H] concatenates the weights of all sizes; `bias` has one row per size.

    Args:
        relations: the module whose output is classified.
        classes: number of classes.
    """

    def __init__(self, relations: Relations, *, classes: int) -> None:
        super().__init__(len(relations.sizes) * relations.hidden, classes)
        bound = relations.hidden**-0.5  # each classifier starts as an nn.Linear of its own
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.empty(len(relations.sizes), classes).uniform_(-bound, bound))
        self.counts = tuple(relations.count(size) for size in relations.sizes)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Classify relations; the class docstring gives the shapes."""
        bias = torch.stack([count * row for count, row in zip(self.counts, self.bias, strict=True)]).sum(0)
        return F.linear(input, self.weight, bias)

    def published_operations(self, shape: torch.Size) -> int:
        """Return the multiply-adds for an input [B, sizes · H] if each relation is classified before the sum.

        The authors' code does that. Here, relations are summed first, which gives the same logits.
        """
        hidden = shape[1] // len(self.counts)
        return shape[0] * sum(self.counts) * hidden * self.out_features


def combination(total: int, size: int, index: int) -> list[int]:
    """Return a subset of `size` of `total` frames by its number in lexical order."""
    found: list[int] = []
    for frame in range(total):
        left = size - len(found)
        if not left:
            break
        with_frame = math.comb(total - frame - 1, left - 1)
        if index < with_frame:
            found.append(frame)
        else:
            index -= with_frame
    return found
