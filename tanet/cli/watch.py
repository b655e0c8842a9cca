"""The command `tanet watch CHECKPOINT SOURCE`, which labels a live stream."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import CheckpointPath, Device, load_checkpoint, parse
from tanet.cli.lines import err, say, warn
from tanet.cli.window_flags import Length, span
from tanet.inference.watch.live_source import parse_source
from tanet.inference.watch.smoothing import Smoothing
from tanet.inference.watch.watch import LiveAnswer, Policy, watch
from tanet.inference.windows import default_window
from tanet.recipes.recipe import Eval

USAGE = "tanet watch CHECKPOINT SOURCE"


@dataclass(frozen=True)
class WatchFlags:
    """Label a camera, a network stream or a file while it runs; print one JSON object per answer.

    Examples:

      tanet watch best.safetensors 0
      tanet watch best.safetensors rtsp://user:password@camera/1 --threshold 0.6
      tanet watch best.safetensors udp://0.0.0.0:5000 --every 0.5 --average 3
      tanet watch best.safetensors match.mp4

    The newest window wins: while the network is busy, frames pass by and are counted. A stream that fails is
    opened again. Stop with Ctrl-C.
    """

    checkpoint: CheckpointPath
    """Checkpoint, name of published weights, or hf://user/name."""
    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """Number of a camera, address of a stream (rtsp://, udp://, http://), or a video file (file:// also)."""
    window: Length = None
    """Length of a window: frames at 30 per second (16), or seconds (2s). Default: as in training; 2s for
    networks that were trained on whole videos."""
    every: float = 0.0
    """Least time between two answers, in seconds. 0: as fast as the network; for files, half a window; with
    tsm-online, each frame of a clip."""
    policy: Annotated[Policy | None, arg(help_behavior_hint="(default: all for files, else newest)")] = None
    """newest: skip what the network is too slow for. all: wait for the network (files only)."""
    average: int = 1
    """Average the probabilities of this many answers."""
    margin: float = 0.0
    """How far another label's probability must lead before the label changes."""
    threshold: float = 0.0
    """Below this probability, the label is null."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet watch CHECKPOINT SOURCE` until the source ends or the user stops it."""
    flags = parse(WatchFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet watch", usage=USAGE)
    smoothing = Smoothing(flags.average, flags.margin, flags.threshold)
    source, window = parse_source(flags.source), span(flags.window)
    model = load_checkpoint(flags.checkpoint, flags.device)
    flags = parse(replace(flags, eval=model.recipe.eval), args, prog="tanet watch")
    if window is None and model.recipe.data.sampling == "uniform":
        warn(f"window {default_window(model.recipe)}: the network was trained on whole videos; set --window")
    answers = watch(
        model,
        source,
        window=window,
        every=flags.every,
        policy=flags.policy,
        smoothing=smoothing,
        eval=flags.eval,
        note=warn,
    )
    count, last, status = 0, None, 0
    try:
        for answer in answers:
            count, last = count + 1, answer
            say(json.dumps(_line(answer), ensure_ascii=False))
    except KeyboardInterrupt:
        status = 130
    finally:
        answers.close()
    if last:
        rate = f"{last.dropped} of {last.frames} frames are in no window"
        err.print(f"{count} answers; {rate}; lag {1000 * last.lag:.0f} ms", markup=False)
    return status


def _line(answer: LiveAnswer) -> dict[str, Any]:
    return {
        "time": round(answer.time, 3),
        "start": round(answer.start, 3),
        "wall": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "label": answer.label,
        "score": round(answer.score, 4),
        "top5": [[name, round(score, 4)] for name, score in answer.top5],
        "latency_ms": round(1000 * answer.latency),
        "lag_ms": round(1000 * answer.lag),
        "frames": answer.frames,
        "dropped": answer.dropped,
    }
