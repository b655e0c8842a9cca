"""Picture of a timeline: frames of the video, segments, and the scores of the labels over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tanet.errors import UserError
from tanet.video import Video
from tanet.visualization.figures import DPI, SUFFIXES, WIDTH, require_plots

FRAMES = 8
MOST = 8
"""Largest number of labels that get a colour, those with the longest segments."""
OTHERS = "#BBBBBB"


def check_picture(path: Path) -> None:
    """Check that a picture of this name can be drawn.

    Raises:
        UserError: the name has another ending, or matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: the name of a picture must end in {', '.join(SUFFIXES)}")
    require_plots()


def draw_timeline(
    path: Path,
    video: Video,
    *,
    edges: np.ndarray,
    scores: np.ndarray,
    classes: Sequence[str],
    spans: Sequence[tuple[float, float, str]],
) -> None:
    """Draw a timeline and write it to a file.

    Args:
        path: file to write.
        video: the opened video, from which frames are drawn.
        edges: edges of the cells, in seconds, [cells + 1].
        scores: probabilities of the classes in each cell, [cells, classes].
        classes: names of the classes.
        spans: start, end and label of each segment, in seconds.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    lengths: dict[str, float] = {}
    for start, end, label in spans:
        lengths[label] = lengths.get(label, 0.0) + end - start
    shown = sorted(lengths, key=lambda label: -lengths[label])[:MOST]
    colours = {label: colormaps["tab10"](number) for number, label in enumerate(shown)}
    figure = Figure(figsize=(WIDTH, 4.2), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=[1.1, 0.45, 1.6])
    _strip(figure.add_subplot(grid[0]), video, float(edges[-1]))
    bars = figure.add_subplot(grid[1])
    for start, end, label in spans:
        bars.axvspan(start, end, color=colours.get(label, OTHERS), linewidth=0)
        if end - start > edges[-1] / 12:
            bars.text((start + end) / 2, 0.5, label[:24], ha="center", va="center", fontsize=7, clip_on=True)
    bars.set_yticks([])
    lines = figure.add_subplot(grid[2])
    centres = (edges[:-1] + edges[1:]) / 2
    for label in shown:
        lines.plot(centres, scores[:, list(classes).index(label)], color=colours[label], label=label)
    for axes in (bars, lines):
        axes.set_xlim(0, float(edges[-1]))
    bars.set_xticklabels([])
    lines.set_ylim(0, 1)
    lines.set_xlabel("seconds")
    lines.set_ylabel("probability")
    if shown:
        lines.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(f"{video.path.name}: {len(spans)} segments", fontweight="bold")
    figure.savefig(path)


def _strip(axes: "object", video: Video, total: float) -> None:
    """Draw frames of the video, evenly spaced over its time."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    times = video.times()
    middles = (np.arange(FRAMES) + 0.5) * total / FRAMES
    numbers = np.clip(np.searchsorted(times, middles, side="right") - 1, 0, len(times) - 1)
    for place, picture in enumerate(video.read(numbers).numpy()):
        axes.imshow(picture, extent=(place, place + 1, 0, 1), aspect="auto")
    axes.set_xlim(0, FRAMES)
    axes.set_ylim(0, 1)
    axes.axis("off")
