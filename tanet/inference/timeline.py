"""What happens when in a long video: windows over the video are scored, and their scores become segments.

The video is divided into cells, one for each hop from window to window. The probabilities of a cell are the
weighted mean over the windows that cover it:

    p(cell) = Σ w · p(window) / Σ w

The weight w of a window is 1 in its centre and falls to 0 at its ends. The label changes only if another
label leads by a margin (hysteresis). Segments that are too short go to the more probable of their neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.streams import stream_of
from tanet.errors import UserError
from tanet.evaluation.scorer import Scorer
from tanet.inference.features import NETWORK
from tanet.inference.windows import Span, Windows, default_window, read_windows, windows_of
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Eval
from tanet.video import DamagedVideo, Video


@dataclass(frozen=True)
class Segment:
    """Part of a video with one label."""

    start: float
    """In seconds after the first frame of the video, also if the video is a part of a longer one."""
    end: float
    label: str
    score: float
    """Mean probability of the label over the segment."""


@dataclass(frozen=True)
class Timeline:
    """The segments of a video, and the scores that they come from."""

    video: str
    duration: float
    """In seconds."""
    fps: float | None
    segments: tuple[Segment, ...]
    edges: np.ndarray
    """Edges of the cells, in seconds: float64 [cells + 1]."""
    scores: np.ndarray
    """Probabilities of the classes in each cell: float32 [cells, classes]."""
    classes: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Rules:
    """How scores become segments."""

    margin: float = 0.1
    """How far another label's probability must lead before the label changes."""
    shortest: float = 0.0
    """Shortest segment, in seconds; 0 for half a window."""
    threshold: float = 0.0
    """Segments with a lower mean probability are left out."""

    def __post_init__(self) -> None:
        for name in ("margin", "shortest", "threshold"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must be 0 or more, not {getattr(self, name):g}")


@torch.inference_mode()
def timeline(
    video: Video,
    model: Checkpoint,
    *,
    window: Span | None = None,
    hop: Span | None = None,
    rules: Rules | None = None,
    eval: Eval | None = None,
    on_windows: Callable[[int], None] = lambda _: None,
) -> Timeline:
    """Find the segments of a video in one pass.

    Args:
        video: an opened video.
        model: checkpoint with its network on the device to use.
        window: length of a window; None for the length in training, see `default_window`.
        hop: distance between the starts of two windows; None for half a window.
        rules: how scores become segments.
        eval: crops of each frame, and views per forward pass; None takes the recipe's.
        on_windows: called before each forward pass with the number of all windows. An error that it raises
            ends the work.

    Raises:
        VideoError: the video cannot be read.
        UserError: the network needs boxes of regions.
    """
    recipe, rules = model.recipe, rules or Rules()
    if isinstance(recipe.model, RegionGraphNet):
        raise UserError(f"{recipe.model.title} needs regions, so it cannot label a video alone")
    window = window or default_window(recipe)
    hop = hop or _half(window)
    views = replace(eval or recipe.eval, clips=1, clip_frames=0, frames=0)
    stream = stream_of(video, recipe.data, flows=recipe.model.flows_per_frame)
    windows = windows_of(stream, recipe, window=window, stride=hop, to_end=True)
    scorer = Scorer(model.network.eval(), eval=views, precision=recipe.optim.precision)
    rows: list[np.ndarray] = []
    note = "; ".join(stream.notes)
    try:
        batch = max(1, views.batch // views.crops)
        for clips in read_windows(stream, windows, recipe, eval=views, batch=batch):
            on_windows(len(windows))
            with NETWORK:
                rows.append(scorer(clips).numpy())
    except DamagedVideo as damage:
        if not rows:
            raise
        note = f"damaged: only {damage.frames} frames can be read"
    scores = np.concatenate(rows).astype(np.float32)
    if np.isnan(scores).any():
        raise UserError(f"{video.path}: the network's scores are not numbers (NaN)")
    fps = stream.fps or 30.0
    total = float(windows.ends[len(scores) - 1])
    edges = _edges(total, hop.seconds(fps))
    cells = cell_scores(scores, windows, edges)
    shortest = rules.shortest or window.seconds(fps) / 2
    edges = edges + video.offset  # times of a part are those of its video
    found = segments(cells, edges, model.classes, replace(rules, shortest=shortest))
    return Timeline(str(video.path), total, video.fps, found, edges, cells, model.classes, note)


def _half(window: Span) -> Span:
    half = window.value / 2
    return Span(max(1, half // 1) if window.unit == "frames" else half, window.unit)


def _edges(total: float, hop: float) -> np.ndarray:
    """Return the edges of cells of one hop; the last cell may be up to 1.5 hops long."""
    count = max(1, int(total / hop + 0.5))
    return np.append(hop * np.arange(count), total)


def cell_scores(scores: np.ndarray, windows: Windows, edges: np.ndarray) -> np.ndarray:
    """Average the scores of the windows over each cell: [N, classes] → [cells, classes]."""
    count = len(scores)
    starts, centres, ends = windows.starts[:count], windows.centres[:count], windows.ends[:count]
    found = np.empty((len(edges) - 1, scores.shape[1]), np.float32)
    for number, middle in enumerate((edges[:-1] + edges[1:]) / 2):
        low = int(np.searchsorted(ends, middle, side="right"))
        high = int(np.searchsorted(starts, middle, side="right"))
        if low >= high:  # no window covers the cell: take the nearest one
            low = min(int(np.abs(centres - middle).argmin()), count - 1)
            high = low + 1
        half = np.maximum((ends[low:high] - starts[low:high]) / 2, 1e-9)
        weights = np.maximum(1 - np.abs(centres[low:high] - middle) / half, 1e-3)
        found[number] = weights @ scores[low:high] / weights.sum()
    return found


def segments(
    cells: np.ndarray, edges: np.ndarray, classes: tuple[str, ...], rules: Rules
) -> tuple[Segment, ...]:
    """Turn the scores of cells into segments.

    Args:
        cells: probabilities, [cells, classes].
        edges: edges of the cells, in seconds.
        classes: names of the classes.
        rules: margin, shortest segment and threshold.
    """
    labels = _with_hysteresis(cells, rules.margin)
    starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
    runs = [
        (first, after, int(labels[first]))
        for first, after in zip(starts, [*starts[1:], len(labels)], strict=True)
    ]
    runs = _merge_short(runs, cells, edges, rules.shortest)
    found = (
        Segment(
            float(edges[first]), float(edges[after]), classes[label], float(cells[first:after, label].mean())
        )
        for first, after, label in runs
    )
    return tuple(segment for segment in found if segment.score >= rules.threshold)


def _with_hysteresis(cells: np.ndarray, margin: float) -> np.ndarray:
    """Return the label of each cell; a label stays until another one leads by the margin."""
    best = cells.argmax(1)
    labels, current = np.empty(len(cells), np.int64), int(best[0])
    for number, other in enumerate(best):
        if cells[number, other] > cells[number, current] + margin:
            current = int(other)
        labels[number] = current
    return labels


Run = tuple[int, int, int]
"""First cell, the cell after the last one, label."""


def _merge_short(runs: list[Run], cells: np.ndarray, edges: np.ndarray, shortest: float) -> list[Run]:
    """Give segments that are too short to a neighbour, the shortest first."""
    runs = list(runs)
    while len(runs) > 1:
        lengths = [edges[after] - edges[first] for first, after, _ in runs]
        at = int(np.argmin(lengths))
        if lengths[at] >= shortest:
            break
        first, after, _ = runs[at]
        near = [number for number in (at - 1, at + 1) if 0 <= number < len(runs)]
        into = max(near, key=lambda number: cells[first:after, runs[number][2]].mean())
        label = runs[into][2]
        low, high = sorted((at, into))
        runs[low : high + 1] = [(runs[low][0], runs[high][1], label)]
        if low + 1 < len(runs) and runs[low + 1][2] == label:
            runs[low : low + 2] = [(runs[low][0], runs[low + 1][1], label)]
        if low and runs[low - 1][2] == label:
            runs[low - 1 : low + 1] = [(runs[low - 1][0], runs[low][1], label)]
    return runs
