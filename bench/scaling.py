"""Compare training on several GPUs with training on one GPU.

    python -m bench scaling --gpus 1 2 [4]
    python -m bench scaling --device cpu --gpus 1 2 --backbone resnet18_w16 --size 64 --clips 2

The steps are those of `tanet train`, but no videos are read. Each GPU has a batch of 32 clips, which stays
on the GPU as uint8 and is normalised one step ahead (`prefetch_to_device`). Before each step, the ranks
agree whether to continue. A meter adds up loss and accuracy. All runs use bfloat16 autocast, channels-last
and fused SGD. The benchmark measures three forms of training, which correspond to flags of `tanet train`:

eager       no flags
compiled    --compile
sync norm   --optim.sync-norm, eager; compared with eager on one GPU

Each form and number of GPUs has a team of processes, one process per GPU (process_groups.py). All teams
start before the first measurement. Then the teams of a form take turns: in each turn, a team runs a block of
steps. The first steps of a block are not counted. The time of a step is measured on the first GPU, from the
start of the step to the start of the next step.

`ratio` is the clips per second divided by those of one GPU. `average_ms` is the time of an all-reduce mean of
as many numbers as there are weights, with nothing else running. A row is written only if all steps of the
team were finite and all its processes ended with the same weights.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, repeat
from statistics import median
from typing import Any

import numpy as np
import torch

from bench.common import percentiles
from bench.process_groups import Team
from tanet.data.loader import Batch
from tanet.data.prefetch import prefetch_to_device
from tanet.recipes.recipe import Network2D, Optim, Recipe
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.events import ignore
from tanet.runtime.interrupt import StopRequest
from tanet.training.events import PROGRESS_INTERVAL
from tanet.training.meter import Meter
from tanet.training.optimizer import make_optimizer
from tanet.training.rank_sync import RankSync
from tanet.training.schedule import set_lr
from tanet.training.setup import TrainingContext, build_network
from tanet.training.step import TrainStep

KEY = ("form", "gpus")
FRAMES, CLASSES = 8, 400
# With this learning rate, the network learns nothing from random clips, but its weights change.
LR = 1e-4
WARM = 5  # steps at the start of each block, which are not counted


@dataclass(frozen=True)
class Form:
    name: str
    compile: bool
    sync_norm: bool


FORMS = (Form("eager", False, False), Form("compiled", True, False), Form("sync norm", False, True))


@dataclass(frozen=True)
class Setting:
    """Settings shared by all rows."""

    device: str
    backbone: str
    clips: int
    """Clips per GPU and step."""
    size: int
    steps: int
    """Timed steps per block."""


@dataclass
class Case:
    """A form of training on a number of GPUs, and its measurements."""

    form: Form
    gpus: int
    team: Team
    times: list[float] = field(default_factory=list)
    """Milliseconds of each step."""
    average: float = 0.0
    memory: int | None = None


def flags(parser: argparse.ArgumentParser) -> None:
    names = [form.name for form in FORMS]
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--forms", nargs="+", choices=names, help="default: all that the device supports")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--clips", type=int, default=32, help="batch size per GPU, in clips")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=20, help="timed steps in a block")
    parser.add_argument("--blocks", type=int, default=4)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    there = torch.cuda.device_count() if flags.device == "cuda" else max(flags.gpus)
    if max(flags.gpus) > there:
        raise SystemExit(f"--gpus {max(flags.gpus)}: this machine has only {there} GPUs; give fewer")
    if 1 not in flags.gpus or min(flags.gpus) < 1:
        raise SystemExit("--gpus must be positive and include 1, because one GPU is the reference")
    if min(flags.steps, flags.blocks, flags.clips) < 1:
        raise SystemExit("--steps, --blocks and --clips must be positive")
    wanted = flags.forms or [form.name for form in FORMS if flags.device == "cuda" or not form.sync_norm]
    forms = [form for form in FORMS if form.name in wanted]
    setting = Setting(flags.device, flags.backbone, flags.clips, flags.size, flags.steps)
    cases = measure(forms, sorted(set(flags.gpus)), setting, blocks=flags.blocks)
    yield from make_rows([case for case in cases if not case.team.error], setting)
    if failed := [f"{case.team.name}: {case.team.error}" for case in cases if case.team.error]:
        raise SystemExit("\n".join(failed))


def measure(forms: list[Form], counts: list[int], setting: Setting, *, blocks: int) -> list[Case]:
    """Measure each form of training on each number of GPUs. If a team fails, its error is in `team.error`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    started, cases = time.monotonic(), list[Case]()
    try:
        for form in forms:
            for gpus in counts[1:] if form.sync_norm else counts:
                name = f"{form.name}, {gpus} x {setting.device}"
                make = partial(Loop, form, setting)
                cases.append(Case(form, gpus, Team(name, gpus=gpus, make=make, device=setting.device)))
        for case in cases:
            case.team.wait()
            print(f"{case.team.name}: {case.team.error or 'ready'}", flush=True)
        print(f"all after {time.monotonic() - started:.0f} s", flush=True)
        for form in forms:
            turns = [case for case in cases if case.form == form]
            for case in turns:
                case.average, case.memory = next(iter(case.team.ask("alone")), (0.0, None))
            for _ in range(blocks):
                for case in turns:
                    case.times += next(iter(case.team.ask("steps")), [])
            print(f"{form.name}: measured after {time.monotonic() - started:.0f} s", flush=True)
        for case in cases:
            if error := differ(case.team.ask("moved")):
                case.team.fail(error)
    finally:
        for case in cases:
            case.team.end()
    return cases


def differ(moved: list[np.ndarray]) -> str:
    """Check that all ranks changed their weights equally. Return the first error, or an empty string."""
    for rank, other in enumerate(moved):
        if not np.isfinite(other).all():
            return f"process {rank} had steps that were not finite"
        if not other.any():
            return f"process {rank} has not changed its weights"
        if np.abs(other - moved[0]).max() > 1e-3 * np.abs(moved[0]).max():
            return f"process {rank} has other weights than process 0"
    return ""


def make_rows(cases: list[Case], setting: Setting) -> list[dict[str, object]]:
    """Return the rows of the CSV file, one per case."""
    alone = {case.form.name: median(case.times) for case in cases if case.gpus == 1}
    rows: list[dict[str, object]] = []
    for case in cases:
        times = percentiles(case.times)
        rates = percentiles([1e3 * case.gpus * setting.clips / ms for ms in case.times])
        one = alone.get("eager" if case.form.sync_norm else case.form.name)
        rows.append(
            {
                "form": case.form.name,
                "gpus": case.gpus,
                "network": f"tanet {setting.backbone}",
                "clips": setting.clips,
                "frames": FRAMES,
                "size": setting.size,
                **{f"ms_{key}": f"{value:.3f}" for key, value in times.items()},
                **{f"clips_s_{key}": f"{value:.1f}" for key, value in rates.items()},
                "ratio": "" if one is None else f"{case.gpus * one / times['p50']:.3f}",
                "average_ms": "" if case.gpus == 1 else f"{case.average:.3f}",
                "memory_gib": "" if case.memory is None else f"{case.memory / 2**30:.2f}",
            }
        )
    return rows


class Loop:
    """A worker that runs the training loop on one batch, which stays on the device."""

    def __init__(self, form: Form, setting: Setting, group: ProcessGroup, device: torch.device) -> None:
        self.steps, self.group, self.device = setting.steps, group, device
        optim = Optim(lr=LR, batch=setting.clips * group.world_size, sync_norm=form.sync_norm)
        recipe = Recipe(model=Network2D(backbone=setting.backbone, frames=FRAMES), optim=optim)
        context = TrainingContext(group, device, ignore, StopRequest(), form.compile, save_after=1e9)
        classes = tuple(map(str, range(CLASSES)))
        network = build_network(recipe, classes, context, resumed=False).train()
        self.optimizer = make_optimizer(network, optim)
        self.step = TrainStep(
            network, optimizer=self.optimizer, optim=optim, group=group, compile=form.compile
        )
        params = list(network.parameters())
        # The ranks compare two parameters, whose gradients are all-reduced in the first and the last bucket.
        self.ends = params[0], params[-1]
        self.before = [param.detach().clone() for param in self.ends]
        self.weights = sum(param.numel() for param in params)
        shape = (setting.clips, FRAMES, 3, setting.size, setting.size)
        views = torch.randint(256, shape, dtype=torch.uint8, device=device)
        labels = torch.randint(CLASSES, (setting.clips,), device=device)
        self.batch = Batch(views, labels, keys=(), used=0)
        self.bad = torch.zeros((), device=device)
        self.make_steps()  # warm-up, untimed: compile, autotune and capture CUDA graphs

    def __call__(self, word: str) -> Any:
        if word == "steps":
            return self.make_steps()
        if word == "alone":
            return self.average(), torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
        assert word == "moved"
        return self.moved()

    def make_steps(self) -> list[float]:
        """Run a block of steps, and return the milliseconds of each step that is counted."""
        number = WARM + self.steps + 1
        agree = RankSync(group=self.group, stop=StopRequest(), save_after=1e9, report_after=PROGRESS_INTERVAL)
        meter = Meter(1, done=0, steps=number, sums=None, group=self.group, device=self.device)
        mark, read = _clock(self.device)
        for batch in prefetch_to_device(repeat(self.batch, number), self.device):
            if agree(over=False, failed=None, news=meter.clips > 0).report:
                meter.read()
            mark()
            set_lr(self.optimizer, LR)
            assert isinstance(batch.views, torch.Tensor)
            result = self.step(batch.views, batch.labels)
            meter.add(result, batch.labels, lr=LR)
            self.bad += result.bad
        return read()[WARM:]

    def average(self) -> float:
        """Return the milliseconds of an all-reduce mean of as many numbers as the network has weights."""
        numbers = torch.zeros(self.weights, device=self.device)
        mark, read = _clock(self.device)
        for _ in range(10):
            mark()
            self.group.all_reduce_mean_async(numbers)()
        return median(read()[2:])

    def moved(self) -> np.ndarray:
        """Return the changes of the first and the last parameter so far, or NaN if a step was not finite."""
        ends = zip(self.ends, self.before, strict=True)
        far = torch.cat([(param.detach() - before).flatten() for param, before in ends])
        return torch.where(self.bad > 0, torch.nan, far).cpu().numpy()


def _clock(device: torch.device) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """Return two functions: `mark` records the time, and `read` returns the milliseconds between marks."""
    events: list[torch.cuda.Event] = []
    moments: list[float] = []

    def mark() -> None:
        if device.type == "cuda":
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
        else:
            moments.append(1e3 * time.perf_counter())

    def read() -> list[float]:
        if device.type != "cuda":
            return [end - start for start, end in pairwise(moments)]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in pairwise(events)]

    return mark, read
