"""Picture of two networks with TAM side by side, each on videos of its own (paper's Figures 5 and 6).

The paper compares the gates and kernels of a TANet on Kinetics-400 with those of another on
Something-Something V2, and sees "clear differences between two datasets". The caption measures this with
the Wasserstein distance: the mean absolute difference of the quantiles of two distributions. For scale, it
also gives the distance between two halves of the same network's videos, for the network where it is larger.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from tanet.errors import UserError
from tanet.visualization.figures import GATE_LIMITS, draw_violins, empty_figure, weight_limits
from tanet.visualization.record import RecordedClip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILES = 201


class Recorded(NamedTuple):
    """Recorded clips of one network, and a name for the picture."""

    name: str
    clips: Sequence[RecordedClip]


def pair_figure(ours: Recorded, theirs: Recorded) -> "Figure":
    """Draw one row per stage: gates by frame and kernels by tap, for each of two networks.

    Raises:
        UserError: the networks have no stage in common.
    """
    stages = _stages(ours, theirs)
    figure = empty_figure(1.2 + 2.1 * len(stages), pair_caption(ours, theirs))
    figure.suptitle("Gates V and kernels Θ of two networks", fontweight="bold")
    grid = figure.add_gridspec(len(stages), 4)
    limits = weight_limits(_values(one, stage, "kernel") for one in (ours, theirs) for stage in stages)
    for row, stage in enumerate(stages):
        for column, recorded in enumerate((ours, theirs)):
            for half, kind in enumerate(("gate", "kernel")):
                if (values := _values(recorded, stage, kind)) is None:
                    continue
                axes = figure.add_subplot(grid[row, 2 * half + column])
                draw_violins(axes, values.flatten(0, 1), taps=bool(half), labels=8)
                axes.set_ylim(limits if half else GATE_LIMITS)
                axes.set_ylabel(f"{stage}: {'Θ' if half else 'V'}", fontsize=8)
                if row == 0:
                    axes.set_title(recorded.name, fontsize=9)
    return figure


def pair_caption(ours: Recorded, theirs: Recorded) -> str:
    """Return the caption: how far the weights of two networks, and of two halves of videos, are apart."""
    parts = []
    for stage in _stages(ours, theirs):
        for kind, symbol in (("gate", "V"), ("kernel", "Θ")):
            pair = [_values(recorded, stage, kind) for recorded in (ours, theirs)]
            if any(values is None for values in pair):
                continue
            one, other = (values for values in pair if values is not None)
            if one.shape[2] != other.shape[2]:
                continue  # clips of other lengths, or other numbers of taps
            halves = [distance(values[::2], values[1::2]) for values in (one, other) if len(values) > 1]
            within = f", {max(halves):.3f} between halves of one's videos" if halves else ""
            parts.append(f"{stage} {symbol}: {distance(one, other):.3f} between the networks{within}")
    counts = " and ".join(f"{len(recorded.clips)} clips ({recorded.name})" for recorded in (ours, theirs))
    measured = f" Distance of their distributions, averaged over frames or taps: {'; '.join(parts)}."
    return f"Gates V by frame and kernels Θ by tap, all channels of {counts}.{measured if parts else ''}"


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the Wasserstein distance of the weights at each place, averaged over the places.

    Args:
        one: weights [clips, channels, places].
        other: weights of another network or other clips; numbers of clips and channels may differ.
    """
    at = torch.linspace(0, 1, QUANTILES)
    first, second = (_quantiles(values.flatten(0, 1), at) for values in (one, other))
    return float((first - second).abs().mean())


def _quantiles(values: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return the quantiles of each column, [quantiles, columns]. `torch.quantile` limits the size."""
    ordered = values.sort(0).values
    return ordered[(at * (len(ordered) - 1)).round().long()]


def _stages(ours: Recorded, theirs: Recorded) -> list[str]:
    names = [[part.stage for part in recorded.clips[0].adaptations] for recorded in (ours, theirs)]
    if shared := [stage for stage in names[0] if stage in names[1]]:
        return shared
    raise UserError(f"no stage has TAMs in both networks: {', '.join(names[0])}; {', '.join(names[1])}")


def _values(recorded: Recorded, stage: str, kind: str) -> torch.Tensor | None:
    """Return the gates or kernels of all clips at one stage, [clips, channels, places]."""
    found = []
    for clip in recorded.clips:
        part = next(part for part in clip.adaptations if part.stage == stage)
        values = part.gate if kind == "gate" else part.kernel
        if values is None:
            return None
        found.append(values)
    return torch.stack(found)
