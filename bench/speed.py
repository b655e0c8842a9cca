"""Networks in clips per second: C2D, TSM, TANet and TANet in the published form → results/speed.csv.

    python -m bench.speed --part inference [--backbone mobilenet_v2] [--frames 16]

part         what is measured, in one run, the networks taking turns in blocks
inference    batches of 32 clips, bfloat16
training     steps of 32 clips: autocast, cross-entropy, backward pass, fused SGD
latency      one clip
frames       256 images as clips of 8, 16, 32 and 64 frames
batch        batches of 1, 4, 16 and 64 clips
cpu          one clip, float32, two threads

form                  how a network runs
eager                 every operation by itself, images in NCHW: so the published code does it
eager channels-last   the same, images in NHWC
compiled              torch.compile, channels-last; without gradients as VideoNet.optimize makes it
graph                 the same, captured as a CUDA graph, in training with the optimizer's step

`of_c2d` is the rate as a part of that of C2D's best form; 1/of_c2d - 1 is what it adds in time. New rows
take the place of old ones of the same comparison. Stops unless the kernels' tests pass here.
"""

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from bench.common import (
    ROOT,
    capture,
    head,
    interleaved,
    interleaved_on_gpu,
    percentiles,
    read_csv,
    require_tests,
    write_csv,
)
from bench.ops import TESTS
from bench.published import publish
from tanet.device import autocast, pick_device
from tanet.network import VideoNet, build
from tanet.optim import make_optimizer
from tanet.recipe import Model, Optim

Run = Callable[[], object]
NETWORKS = {"c2d": "none", "tsm": "tsm", "tanet": "tam", "published": "tam"}  # their temporal modules
FAST = ("compiled", "graph")
EAGER = ("eager", "eager channels-last")
PARTS: dict[str, dict[str, tuple[str, ...]]] = {  # the forms of each network
    "inference": {"c2d": FAST, "tsm": FAST, "tanet": FAST, "published": (*EAGER, *FAST)},
    "training": {"c2d": FAST, "tsm": FAST, "tanet": FAST, "published": EAGER},
    "latency": dict.fromkeys(NETWORKS, ("graph",)),
    "frames": dict.fromkeys(("c2d", "tanet"), ("graph",)),
    "batch": dict.fromkeys(("c2d", "tanet"), ("graph",)),
    "cpu": dict.fromkeys(("c2d", "tanet", "published"), EAGER),
}
CLASSES = 400
CPU_TESTS = ("test_adaptive_conv.py", "test_tam.py")


@dataclass(frozen=True)
class Setting:
    """What all networks of a comparison share."""

    part: str
    backbone: str
    frames: int
    clips: int
    size: int
    device: torch.device

    @property
    def training(self) -> bool:
        return self.part == "training"

    @property
    def weights(self) -> Literal["float32", "bfloat16"]:
        return "bfloat16" if self.precision == "bfloat16" else "float32"

    @property
    def precision(self) -> str:
        if self.part == "cpu":
            return "float32"
        return "autocast bfloat16" if self.training else "bfloat16"


@dataclass(frozen=True)
class Side:
    """One network in one form, ready to run."""

    network: str
    form: str
    run: Run
    memory: int | None
    """Most bytes that it held on the GPU in a run, weights and clips among them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=list(PARTS), default="inference")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--frames", type=int, nargs="+", help="8; part frames: 8 16 32 64")
    parser.add_argument("--clips", type=int, nargs="+", help="32; latency, cpu: 1; batch: 1 4 16 64")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=30, help="runs of each network that count")
    parser.add_argument("--tested", action="store_true", help="the tests have passed on this machine already")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "speed.csv")
    flags = parser.parse_args()
    if not flags.tested:
        require_tests(*(CPU_TESTS if flags.part == "cpu" else TESTS))
    same_answers()
    torch.backends.cudnn.benchmark = True
    if flags.part == "cpu":
        torch.set_num_threads(2)
    first = head("torch")
    for setting, sides in comparisons(flags):
        rows = compare(setting, sides, repeats=flags.repeats)
        keys = {key: str(rows[0][key]) for key in ("part", "backbone", "frames", "clips", "size")}
        names = {row["network"] for row in rows}
        kept = [
            row
            for row in read_csv(flags.out)
            if row["network"] not in names or any(row[key] != value for key, value in keys.items())
        ]
        write_csv(flags.out, [*kept, *({**first, **row} for row in rows)])


def comparisons(flags: argparse.Namespace) -> Iterator[tuple[Setting, list[Side]]]:
    """What runs against each other, one comparison after the other."""
    part = flags.part
    device = pick_device("cpu" if part == "cpu" else None)
    clips = flags.clips or {"latency": [1], "cpu": [1], "batch": [1, 4, 16, 64]}.get(part, [32])
    frames = flags.frames or ([8, 16, 32, 64] if part == "frames" else [8])
    start = Setting(part, flags.backbone, frames[0], clips[0], flags.size, device)
    forms = {name: PARTS[part][name] for name in PARTS[part] if name in flags.networks}
    if part == "frames":
        # To C2D the same images are the same work, whatever their clips.
        images = start.frames * start.clips
        if any(images % t for t in frames):
            raise SystemExit(f"{images} images are no whole number of clips of {frames} frames")
        baseline = make_sides("c2d", forms.pop("c2d"), start)
        for t in frames:
            setting = replace(start, frames=t, clips=images // t)
            yield setting, [*baseline, *(s for n, f in forms.items() for s in make_sides(n, f, setting))]
        return
    for t in frames:
        for number in clips:
            # No comparison inherits compiled code or memory from the one before.
            torch.compiler.reset()
            gc.collect()
            torch.cuda.empty_cache()
            setting = replace(start, frames=t, clips=number)
            yield setting, [side for n, f in forms.items() for side in make_sides(n, f, setting)]


def make_sides(name: str, forms: Sequence[str], setting: Setting) -> list[Side]:
    """One network in its forms; each is announced with the time of its fastest run so far."""
    sides: dict[str, Side] = {}
    for form in forms:
        if form == "graph":
            sides[form] = make_graph(sides.get("compiled") or make_side(name, "compiled", setting), setting)
        else:
            sides[form] = make_side(name, form, setting)
        time = min(clock(setting.device, {form: sides[form].run}, repeats=5)[form])
        print(f"  {name}, {form}, T = {setting.frames}: {time:.2f} ms at first sight", flush=True)
    return list(sides.values())


def make_graph(compiled: Side, setting: Setting) -> Side:
    """The compiled side as a CUDA graph. Its memory is the compiled one's: that of graphs is not counted."""
    if setting.device.type != "cuda":
        return replace(compiled, form="graph")
    # Captured where it is warmed up: gradients are accumulated on the stream that they came along.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        return replace(compiled, form="graph", run=capture(compiled.run, stream=stream))


def make_side(name: str, form: str, setting: Setting) -> Side:
    """A network in a form other than graph, warmed up."""
    gpu = setting.device.type == "cuda"
    before = torch.cuda.memory_allocated() if gpu else 0
    layout = torch.contiguous_format if form == "eager" else torch.channels_last
    network = make_network(name, setting).to(setting.device, memory_format=layout)  # type: ignore[call-overload]
    shape = (setting.frames * setting.clips, 3, setting.size, setting.size)
    clips = torch.randn(shape, device=setting.device).contiguous(memory_format=layout)
    clips = clips.unflatten(0, (setting.clips, setting.frames))
    run = (train if setting.training else evaluate)(network, clips, form=form, setting=setting)
    for _ in range(3):
        run()
    memory = None
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated() - before
    return Side(name, form, run, memory)


def make_network(name: str, setting: Setting) -> VideoNet:
    """A fresh network; TANet with its fused operations where a GPU runs them."""
    model = Model(backbone=setting.backbone, temporal=NETWORKS[name], frames=setting.frames)
    network = build(model, classes=CLASSES)
    if name == "published":
        return publish(network)
    if name == "tanet" and setting.device.type == "cuda" and not network.fuse():
        raise ValueError(f"nothing was fused in {setting.backbone}")
    return network


def evaluate(network: VideoNet, clips: torch.Tensor, *, form: str, setting: Setting) -> Run:
    """Clips to logits."""
    network.eval()
    model: nn.Module = network
    if form == "compiled":
        model = network.optimize(precision=setting.weights, graph=False)
    if setting.precision == "bfloat16":
        network.bfloat16()
        clips = clips.bfloat16()

    def run() -> None:
        with torch.no_grad():
            model(clips)

    if form == "compiled":
        with torch.no_grad():
            expected = network(clips)
            error = (model(clips) - expected).norm() / expected.norm()
        # Another network's code would be off by about 1, bfloat16 is by a few percent.
        if not error < 0.2:
            raise SystemExit(f"compiled, the network's answers are off by {error:.0%}")
    return run


def train(network: VideoNet, clips: torch.Tensor, *, form: str, setting: Setting) -> Run:
    """A step; the learning rate is so small that made-up clips lead nowhere."""
    network.train()
    labels = torch.arange(len(clips), device=clips.device) % CLASSES
    optimizer = make_optimizer(network, Optim(lr=1e-6))
    model: nn.Module = network
    if form == "compiled":
        model = torch.compile(network, fullgraph=True, dynamic=False)  # type: ignore[assignment]

    def run() -> None:
        with autocast(setting.device, "bfloat16"):
            loss = F.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def compare(setting: Setting, sides: list[Side], *, repeats: int) -> list[dict[str, object]]:
    """Time the sides in turns; a line and a row for each."""
    runs = {f"{side.network} {side.form}": side.run for side in sides}
    times = clock(setting.device, runs, repeats=repeats)
    rates = {name: [1e3 * setting.clips / time for time in times[name]] for name in runs}
    medians = {name: percentiles(rates[name])["p50"] for name in runs}
    best = max((medians[name] for name in runs if name.startswith("c2d ")), default=None)
    print(f"{setting.part}, {setting.backbone}, {setting.clips} x {setting.frames} x {setting.size}²")
    rows: list[dict[str, object]] = []
    for side, name in zip(sides, runs, strict=True):
        row: dict[str, object] = {
            "part": setting.part,
            "backbone": setting.backbone,
            "network": side.network,
            "form": side.form,
            "frames": setting.frames,
            "clips": setting.clips,
            "size": setting.size,
            "precision": setting.precision,
            **{f"clips_s_{key}": f"{value:.1f}" for key, value in percentiles(rates[name]).items()},
            **{f"ms_{key}": f"{value:.3f}" for key, value in percentiles(times[name]).items()},
            "memory_gib": "" if side.memory is None else f"{side.memory / 2**30:.2f}",
            "of_c2d": "" if best is None else f"{medians[name] / best:.3f}",
        }
        print(
            f"{name:30} {row['clips_s_p50']:>9} clips/s  {row['ms_p50']:>10} ms  "
            f"{row['memory_gib'] or '-':>6} GiB  {row['of_c2d'] or '-':>6} of C2D's best",
            flush=True,
        )
        rows.append(row)
    return rows


def clock(device: torch.device, runs: dict[str, Run], *, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each run, taking turns."""
    if device.type == "cuda":
        return interleaved_on_gpu(runs, repeats=repeats)
    return interleaved(runs, repeats=repeats)


@torch.no_grad()
def same_answers() -> None:
    """The published form is the same network: float64 on a CPU says so."""
    network = build(Model(backbone="resnet18_w16", frames=4), classes=3).double().eval()
    clips = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    torch.nn.init.normal_(network.head.weight)
    torch.testing.assert_close(network(clips), publish(network)(clips))


if __name__ == "__main__":
    main()
