"""Measure clips per second of C2D, TSM, TANet, TANet with static kernels, and published TANet.

    python -m bench speed --part inference [--backbone mobilenet_v2] [--precisions float16]

Published TANet computes TAM as in the published code (bench/published.py). The networks of a part take
turns in blocks of runs.

part         measured work
inference    batches of 32 clips, bfloat16 and float16
training     steps of 32 clips: autocast, cross-entropy, backward pass, fused SGD
latency      one clip, bfloat16 and float16
frames       batches of 256 images, which are clips of 8, 16, 32 or 64 frames
batch        batches of 1, 4, 16 and 64 clips
cpu          one clip, float32, two threads

form                  execution of a network
eager                 each operation runs separately, on images in NCHW, as in the published code
eager channels-last   like eager, but on images in NHWC
compiled              torch.compile, channels-last; for inference, with BatchNorms folded
graph                 like compiled, then captured as a CUDA graph; training includes the optimizer's step
packed                training like graph, with packed pixels, as `tanet train --compile` does it
epilogues             like graph, but cuDNN's convolutions also compute bias, residual and ReLU
optimized             `Network.optimize`, captured as a CUDA graph

`of_c2d` is a network's speed relative to C2D in the same precision: in training, to C2D's fastest form;
otherwise, to the form `graph` (if that was not timed, also to the fastest form). `of_epilogues` is its speed
relative to C2D in the form `epilogues`. For example, a network with 0.8 takes 1 / 0.8 = 1.25 times as long as
C2D. The benchmark first runs the kernels' tests and exits if one fails; `--tested` skips them.
"""

import argparse
import gc
from collections.abc import Iterator
from dataclasses import replace

import torch

from bench.common import percentiles, require_tests
from bench.ops import TESTS
from bench.timed_networks import NETWORKS, Setting, Side, clock, make_sides, same_answers
from tanet.models.network import DTYPES, Precision
from tanet.runtime.device import pick_device

FAST = ("compiled", "graph")
EAGER = ("eager", "eager channels-last")
TRAINING = (*FAST, "packed")
INFERENCE = ("graph", "epilogues", "optimized")
FORMS = (*EAGER, *TRAINING, *INFERENCE[1:])
# Part → network → forms in which the network is timed.
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "inference": {
        "c2d": INFERENCE,
        "tsm": ("optimized",),
        "tanet": ("optimized",),
        "tanet-static": ("optimized",),
        "published": EAGER,
    },
    "training": {
        **dict.fromkeys(("c2d", "tsm", "tanet"), TRAINING),
        "tanet-static": ("packed",),
        "published": EAGER,
    },
    "latency": {"c2d": INFERENCE, "tsm": ("optimized",), "tanet": ("optimized",)},
    "frames": dict.fromkeys(("c2d", "tanet"), ("optimized",)),
    "batch": dict.fromkeys(("c2d", "tanet"), ("optimized",)),
    "cpu": dict.fromkeys(("c2d", "tanet", "tanet-static", "published"), EAGER),
}
PRECISIONS: dict[str, list[Precision]] = {
    "inference": ["bfloat16", "float16"],
    "latency": ["bfloat16", "float16"],
    "training": ["float32"],
    "cpu": ["float32"],
}
CPU_TESTS = ("ops/test_adaptive_convolution.py", "models/test_tam.py")


KEY = ("part", "backbone", "network", "form", "frames", "clips", "size", "precision")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", choices=list(PARTS), default="inference")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="forms to time")
    parser.add_argument(
        "--frames", type=int, nargs="+", help="frames per clip (default: 8; frames: 8 16 32 64)"
    )
    parser.add_argument(
        "--clips", type=int, nargs="+", help="batch size (default: 32; latency, cpu: 1; batch: 1 4 16 64)"
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=list(DTYPES),
        help="of weights (default: bfloat16; inference, latency: also float16; training, cpu: float32)",
    )
    parser.add_argument("--repeats", type=int, default=30, help="timed runs of each network")
    parser.add_argument("--tested", action="store_true", help="skip the tests if they have passed here")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    if not flags.tested:
        require_tests(*(CPU_TESTS if flags.part == "cpu" else TESTS))
        same_answers()
    torch.backends.cudnn.benchmark = True
    if flags.part == "cpu":
        torch.set_num_threads(2)
    for setting, networks in comparisons(flags):
        yield from compare(setting, networks, repeats=flags.repeats)


def comparisons(flags: argparse.Namespace) -> Iterator[tuple[Setting, list[Side]]]:
    """Yield the setting and the networks of each comparison. These networks are timed in turns."""
    part = flags.part
    device = pick_device("cpu" if part == "cpu" else None)
    clips = flags.clips or {"latency": [1], "cpu": [1], "batch": [1, 4, 16, 64]}.get(part, [32])
    frames = flags.frames or ([8, 16, 32, 64] if part == "frames" else [8])
    precisions: list[Precision] = flags.precisions or PRECISIONS.get(part, ["bfloat16"])
    if part in ("training", "cpu") and precisions != ["float32"]:
        raise SystemExit(f"--part {part} has float32 weights; leave out --precisions")
    start = Setting(part, flags.backbone, frames[0], clips[0], flags.size, device, precisions[0])
    forms = {
        name: tuple(form for form in having if form in flags.forms)
        for name, having in PARTS[part].items()
        if name in flags.networks
    }
    if part == "frames":
        if "c2d" not in forms:
            raise SystemExit("--part frames compares with c2d; add it to --networks")
        # C2D's work depends only on the number of images, so one C2D is the baseline of all clip lengths.
        images = start.frames * start.clips
        if any(images % t for t in frames):
            raise SystemExit(
                f"{images} images cannot be divided into clips of {frames} frames; change --frames"
            )
        baseline = make_sides("c2d", forms.pop("c2d"), start)
        for t in frames:
            setting = replace(start, frames=t, clips=images // t)
            yield setting, [*baseline, *(s for n, f in forms.items() for s in make_sides(n, f, setting))]
        return
    for t in frames:
        for number in clips:
            # Discard the compiled code of the previous comparison, and free its memory.
            torch.compiler.reset()
            gc.collect()
            torch.cuda.empty_cache()
            setting = replace(start, frames=t, clips=number)
            sides = []
            for precision in precisions:
                for n, f in forms.items():
                    if n == "published" and precision == "float16":
                        continue  # a baseline, timed in bfloat16 only
                    sides += make_sides(n, f, replace(setting, weights=precision))
            yield setting, sides


def compare(setting: Setting, sides: list[Side], *, repeats: int) -> list[dict[str, object]]:
    """Time the networks of one comparison in turns, and return one row per network and form."""
    runs = {f"{side.network} {side.form} {side.precision}": side.run for side in sides}
    times = clock(setting.device, runs, repeats=repeats)
    rates = {name: [1e3 * setting.clips / time for time in times[name]] for name in runs}
    medians = {name: percentiles(rates[name])["p50"] for name in runs}
    rows: list[dict[str, object]] = []
    for side, name in zip(sides, runs, strict=True):
        others = [medians[n] for n in runs if n.startswith("c2d ") and n.endswith(f" {side.precision}")]
        c2d = max(others, default=None)
        if not setting.training:
            c2d = medians.get(f"c2d graph {side.precision}", c2d)
        epilogues = medians.get(f"c2d epilogues {side.precision}")
        row: dict[str, object] = {
            "part": setting.part,
            "backbone": setting.backbone,
            "network": side.network,
            "form": side.form,
            "frames": setting.frames,
            "clips": setting.clips,
            "size": setting.size,
            "precision": side.precision,
            **{f"clips_s_{key}": f"{value:.1f}" for key, value in percentiles(rates[name]).items()},
            **{f"ms_{key}": f"{value:.3f}" for key, value in percentiles(times[name]).items()},
            "memory_gib": "" if side.memory is None else f"{side.memory / 2**30:.2f}",
            "of_c2d": "" if c2d is None else f"{medians[name] / c2d:.3f}",
            "of_epilogues": "" if epilogues is None else f"{medians[name] / epilogues:.3f}",
        }
        rows.append(row)
    return rows
