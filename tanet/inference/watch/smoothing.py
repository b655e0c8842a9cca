"""Answers that do not flicker: averages over the last answers, a threshold, and hysteresis.

p̄ = mean of the last n probabilities;  the label changes if another label leads by a margin and p̄ ≥
threshold
"""

from collections import deque
from dataclasses import dataclass

import torch

from tanet.errors import UserError


@dataclass(frozen=True)
class Smoothing:
    """How answers are smoothed."""

    average: int = 1
    """Number of answers whose probabilities are averaged."""
    margin: float = 0.0
    """How far another label's probability must lead before the label changes."""
    threshold: float = 0.0
    """Below this probability, there is no label."""

    def __post_init__(self) -> None:
        if not 1 <= self.average <= 1000:
            raise UserError(f"average must be between 1 and 1000, not {self.average}")
        for name in ("margin", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be between 0 and 1, not {getattr(self, name):g}")


class Smoother:
    """Smoother of the answers of one stream."""

    def __init__(self, rules: Smoothing) -> None:
        self.rules = rules
        self._last: deque[torch.Tensor] = deque(maxlen=rules.average)
        self._label: int | None = None

    def __call__(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, int | None]:
        """Take the probabilities of a window, [classes]. Return the smoothed ones, and the label or None."""
        self._last.append(probabilities)
        mean = torch.stack(tuple(self._last)).mean(0)
        best = int(mean.argmax())
        if self._label is None or mean[best] - mean[self._label] >= self.rules.margin:
            self._label = best
        return mean, self._label if mean[self._label] >= self.rules.threshold else None
