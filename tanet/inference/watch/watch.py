"""Labels for a stream while it runs: the newest window wins.

    source → reader thread → ring of frames → newest window → network → answer

After each answer, the loop takes the window that ends at the newest frame. Frames that came and went
meanwhile are in no window; they are counted. Memory does not grow with time. A file can be read in two ways:
"newest" plays it as fast as it decodes and skips what the network is too slow for, "all" waits for the
network.
"""

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.normalisation import normalise
from tanet.errors import UserError
from tanet.evaluation.scorer import Scorer
from tanet.inference.online import OnlineNetwork, can_stream
from tanet.inference.watch.frame_ring import FrameRing, Window
from tanet.inference.watch.live_source import LiveSource, parse_source
from tanet.inference.watch.smoothing import Smoother, Smoothing
from tanet.inference.watch.stream_reader import StreamReader
from tanet.inference.windows import Span, default_window
from tanet.models.temporal.online_shift import OnlineShift
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Eval

Policy = Literal["newest", "all"]
RATE = 30.0
"""Frame rate that turns a window in frames into seconds."""
PATIENCE = 0.5  # seconds after which the loop looks whether it should stop


@dataclass(frozen=True)
class LiveAnswer:
    """Answer for one window of a stream."""

    time: float
    """When the newest frame is displayed, in seconds after the first frame."""
    start: float
    """Start of the window, in seconds after the first frame."""
    label: str | None
    """None if no label reaches the threshold."""
    score: float
    """Smoothed probability of the label, or of the best one if there is no label."""
    top5: tuple[tuple[str, float], ...]
    latency: float
    """Seconds from the arrival of the newest frame to this answer."""
    lag: float
    """How much later the newest frame came than the quickest one, in seconds."""
    frames: int
    """Frames that were decoded so far."""
    dropped: int
    """Frames so far that are in no window."""
    numbers: tuple[int, ...]
    """Numbers of the window's frames."""


def watch(
    model: Checkpoint,
    source: str | LiveSource,
    *,
    window: Span | None = None,
    every: float = 0.0,
    policy: Policy | None = None,
    smoothing: Smoothing | None = None,
    eval: Eval | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Generator[LiveAnswer, None, None]:
    """Label a stream while it runs. The iterator ends with a file; a stream is opened again when it fails.

    Args:
        model: checkpoint with its network on the device to use.
        source: number of a camera, address of a stream, or path of a file.
        window: length of a window; None for the length in training, see `default_window`.
        every: least time between two answers, in seconds of the stream; 0: half a window with the policy
            "all", a frame of a clip with an online network, otherwise as fast as the network.
        policy: "newest" or "all"; None takes "all" for a file and "newest" for a stream.
        smoothing: how answers are smoothed.
        eval: crops of each frame; None takes the recipe's.
        note: receives what happens to the source, one line each.

    Raises:
        UserError: the source cannot be opened, or the network cannot label a stream.
    """
    source = parse_source(source) if isinstance(source, str) else source
    recipe = model.recipe
    if isinstance(recipe.model, RegionGraphNet) or recipe.model.is_flow:
        raise UserError(f"{recipe.model.title} needs more than the frames of a stream and cannot watch it")
    if model.network.takes_frames:
        raise UserError("a file that takes whole frames cannot watch: export it with --input clips")
    policy = policy or ("newest" if source.live else "all")
    if policy == "all" and source.live:
        raise UserError("policy all is for files: a stream does not wait")
    seconds = (window or default_window(recipe)).seconds(RATE)
    if not 0 <= every < float("inf"):
        raise UserError(f"every must be 0 or more seconds, not {every:g}")
    views = replace(eval or recipe.eval, clips=1, clip_frames=0, frames=0)
    frames = model.network.frames
    ring = FrameRing(frames=frames, seconds=seconds, centred=recipe.data.sampling == "uniform")
    reader = StreamReader(source, ring, eval=views, note=note)
    answers = _Answers(model, views, ring, reader, smoothing or Smoothing())
    step = every or (seconds / 2 if policy == "all" else 0.0)
    if answers.online:
        step = answers.step  # each frame of a clip is computed once, when it comes
    windows = _all_windows(reader, ring, step) if policy == "all" else _newest_windows(reader, ring, step)
    due, held = (every if policy == "all" else 0.0), None
    with closing(windows):
        for found in windows:
            if held and policy == "all" and found.piece != held.window.piece:
                yield answers.answer(held)  # the last one before a gap
                held = None
            scores = answers.score(found)
            if scores and answers.online and found.newest.time < due - 1e-6:
                held = scores
            elif scores:
                due, held = found.newest.time + every, None
                yield answers.answer(scores)
    if held:
        yield answers.answer(held)
    if reader.error:
        raise reader.error


def _newest_windows(reader: StreamReader, ring: FrameRing, every: float) -> Generator[Window, None, None]:
    """Yield the newest window whenever the caller is ready."""
    last = float("-inf")
    reader.start()
    try:
        while True:
            if reader.time < last + every and not ring.closed:
                time.sleep(min(PATIENCE, max(0.001, last + every - reader.time)))
                continue
            found = ring.wait(PATIENCE)
            if found is None and ring.closed:
                return
            if found is not None:
                last = found.newest.time
                yield found
    finally:
        reader.stop()


def _all_windows(reader: StreamReader, ring: FrameRing, every: float) -> Generator[Window, None, None]:
    """Yield a window for each `every` seconds of a file, and one for its end."""
    due = every
    for frame in reader.read():
        yield from reader.take_ends()
        ring.add(frame)
        if frame.time >= due - 1e-6:
            due = max(due + every, frame.time)
            if found := ring.newest():
                yield found
    if found := ring.newest():
        yield found


@dataclass(frozen=True)
class _Scores:
    """What the network says about a window."""

    window: Window
    probabilities: torch.Tensor
    start: float
    """Start of what the network has seen, in seconds after the first frame."""
    numbers: tuple[int, ...]
    """Numbers of the frames that it has seen."""


class _Answers:
    """From a window to the answer."""

    def __init__(
        self, model: Checkpoint, eval: Eval, ring: FrameRing, reader: StreamReader, smoothing: Smoothing
    ) -> None:
        self.model, self.reader = model, reader
        self.smoother, self.dropped = Smoother(smoothing), 0
        self.scorer = Scorer(model.network.eval(), eval=eval, precision=model.recipe.optim.precision)
        online = any(isinstance(module, OnlineShift) for module in model.network.modules())
        self.online = OnlineNetwork(model.network) if online and can_stream(model.network) else None
        self.step, self.due, self.piece = ring.seconds / ring.frames, 0.0, 0
        self.averaged: deque[tuple[int, float]] = deque(maxlen=ring.frames)
        """Numbers and times of the frames whose logits an online network averages."""

    def score(self, window: Window) -> _Scores | None:
        """Run the network. Return None if an online network does not need the newest frame."""
        self.dropped += window.skipped
        if self.online is None:
            probabilities, start = self.scorer(window.views[None])[0], window.start
            numbers = tuple(frame.number for frame in window.frames)
        else:
            # One frame for each frame of a clip in training: more would be another speed.
            at = window.newest.time
            if at < self.due - 1e-6:
                return None
            if window.piece != self.piece:
                self.online.reset()
                self.averaged.clear()
                self.piece, self.due = window.piece, at
            self.due += self.step * (1 + int((at - self.due) / self.step))
            view = window.newest.view.to(self.scorer.device)
            logits = self.online.step(normalise(view, self.model.network.input_spec))
            probabilities = logits.float().mean(0).softmax(0).cpu()
            self.averaged.append((window.newest.number, at))
            numbers, start = tuple(number for number, _ in self.averaged), self.averaged[0][1]
        if probabilities.isnan().any():
            raise UserError("the network's scores are not numbers (NaN)")
        return _Scores(window, probabilities, start, numbers)

    def answer(self, scores: _Scores) -> LiveAnswer:
        """Smooth the scores, and choose the label."""
        window = scores.window
        mean, label = self.smoother(scores.probabilities)
        best = mean.topk(min(5, len(mean)))
        top = [
            (self.model.classes[i], float(p)) for i, p in zip(best.indices.tolist(), best.values, strict=True)
        ]
        return LiveAnswer(
            time=window.newest.time,
            start=scores.start,
            label=None if label is None else self.model.classes[label],
            score=float(mean[label]) if label is not None else top[0][1],
            top5=tuple(top),
            latency=time.monotonic() - window.newest.arrival,
            lag=self.reader.lag,
            frames=self.reader.frames,
            dropped=self.dropped,
            numbers=scores.numbers,
        )
