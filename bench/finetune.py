"""What helps small sets of videos: variants of the recipe `finetune`, by seeds, on two sets.

    python -m bench.finetune --data arrow6 --made 40 --weights mobilenet_v2_imagenet.pth --seconds 540
    python -m bench.finetune --list
    python -m bench.finetune --made 2 --backbone resnet18_w16 --size 32 --epochs 2 --variants base near0+ema

→ results/finetune.csv, a row a run. The sets are a folder (`--data`) and the verbs of synthetic.py (`--made`,
clips a verb), so that nothing is chosen on one set alone; nor on videos that results are reported of: of the
folder, a part of the recordings in train/ is held out to choose by (--hold-out), and its val/ is not looked
at; the verbs are made here. With --hold-out 0, val/ is what is tested, and its accuracy is on the high side
for the variant that was chosen by it. A variant is one or more of CHANGES (variants.py), joined by +, laid
over the recipe; in rows of earlier commits, names and recipe are of that commit. All variants with the first
seed come first, then the next seed; a run that would not end in time is left out, and one whose row the file
has is not run again.

Videos are held on the device (held.py), forward and backward pass are captured as a CUDA graph: so a run
takes a fraction of `tanet train`'s time. What the library lacks is done here, and moves into it if it helps.
"""

import argparse
import dataclasses
import gc
import time
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.common import ROOT, head, read_csv, write_csv
from bench.decoded import capture_passes
from bench.held import Held, cut, hold, make_verbs, test_clips
from bench.variants import CHANGES, FIRST, Changes, Extra, Trial, drop, mix, trial_of
from tanet.backbones.mobilenet_v2 import InvertedResidual
from tanet.device import autocast, pick_device, quicken_cpu
from tanet.network import VideoNet, build
from tanet.optim import is_fresh, lr_at, make_optimizer, set_lr
from tanet.recipe import Recipe
from tanet.start import load_2d_weights
from tanet.transforms import normalise

KEY = ("set", "hold_out", "variant", "backbone", "temporal", "seed")
"""The columns that say which run a row is of."""
SHOWN = ("train_top1", "curve", "val_top1", "val_top1_2x3", "seconds")


def main() -> None:
    flags = _flags()
    if flags.list:
        for name, changes in CHANGES.items():
            print(f"{name:12} {', '.join(f'{key} {value}' for key, value in changes.items())}")
        return
    quicken_cpu()
    started, device = time.monotonic(), pick_device(flags.device)
    trials = [_trial(flags, variant, seed) for seed in flags.seeds for variant in flags.variants]
    try:
        sets = _sets(flags, device)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(f"held after {time.monotonic() - started:.0f} s", flush=True)
    rows: list[dict[str, object]] = [dict(row) for row in read_csv(flags.out)]
    done = {tuple(row[name] for name in KEY) for row in rows}
    pace: dict[object, float] = {}  # seconds a step, by what makes it slow
    for trial, (name, held) in product(trials, sets.items()):
        model, data, optim = trial.recipe.model, trial.recipe.data, trial.recipe.optim
        kind, steps = (
            (model.frames, data.size, optim.batch),
            optim.epochs * max(1, len(held[0]) // optim.batch),
        )
        need = 1.2 * steps * pace.get(kind, max(pace.values(), default=0.0))
        title = f"{name} {trial.variant} seed {trial.recipe.seed}"
        part, seed = str(flags.hold_out), str(trial.recipe.seed)
        values = (name, part, trial.variant, model.backbone, model.temporal, seed)
        if values in done or started + flags.seconds < time.monotonic() + need:
            print(f"{title}: left out", flush=True)
            continue
        row = _run(trial, *held, device=device, graph=device.type == "cuda" and not flags.no_graph)
        pace[kind] = float(str(row["seconds"])) / steps
        rows.append({**head("torch"), "set": name, "hold_out": part, **row})
        write_csv(flags.out, rows)
        print(f"{title}: " + ", ".join(f"{key} {row[key]}" for key in SHOWN), flush=True)
        gc.collect()  # of a captured graph, which holds its memory until then
    _summary(rows)


def _trial(flags: argparse.Namespace, variant: str, seed: int) -> Trial:
    before: Changes = {
        "model.backbone": flags.backbone,
        "model.temporal": flags.temporal,
        "model.weights": flags.weights,
    }
    after: Changes = {"optim.epochs": flags.epochs, "optim.warmup": 0.0} if flags.epochs else {}
    if flags.size:
        after |= {f"{part}.{what}": flags.size for part in ("data", "eval") for what in ("size", "resize")}
    return trial_of(variant, seed=seed, before=before, after=after)


def _sets(flags: argparse.Namespace, device: torch.device) -> dict[str, tuple[Held, Held]]:
    """The sets by their names, each held in two parts."""
    sets = {}
    if flags.data:
        sets[Path(flags.data).name] = hold(flags.data, device=device, part=flags.hold_out, limit=flags.limit)
    if flags.made:
        sets["verbs"] = make_verbs(flags.made, device=device)
    if not sets:
        raise SystemExit("no videos: name a folder (--data), or have verbs made (--made 40)")
    for name, (train, val) in sets.items():
        height, width = train.frames.shape[1:3]
        print(f"{name}: {len(train)} and {len(val)} videos of {height} × {width}")
    return sets


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", help="folder with train/ and val/, all videos of one size")
    parser.add_argument(
        "--hold-out", type=float, default=0.2, help="part of train/ to test on; 0 tests on val/"
    )
    parser.add_argument("--limit", type=int, help="videos of each part of --data to take; all")
    parser.add_argument(
        "--made", type=int, default=0, help="training clips a verb of the made set; 0 for none"
    )
    parser.add_argument("--weights", default="", help="ImageNet weights of the 2D network")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--temporal", default="tam")
    parser.add_argument("--variants", nargs="+", default=FIRST, help="see --list; joined by +")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=540, help="no run is begun that would end later")
    parser.add_argument("--epochs", type=int, help="instead of the variant's")
    parser.add_argument("--size", type=int, help="side of the clips, instead of the variant's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-graph", action="store_true", help="launch every kernel of every step")
    parser.add_argument("--list", action="store_true", help="list what a variant is made of")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "finetune.csv")
    return parser.parse_args()


def _run(trial: Trial, train: Held, val: Held, *, device: torch.device, graph: bool) -> dict[str, object]:
    """One training, tested four times on the way."""
    recipe, extra, started = trial.recipe, trial.extra, time.monotonic()
    optim, rng = recipe.optim, np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    network = _network(trial, classes=len(train.classes), device=device)
    # Before the network is captured: the copy's forward would be the other's afterwards.
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(extra.ema), use_buffers=True)
    tested: nn.Module = network
    tests = test_clips(val, recipe, clips=1, crops=1)
    network.train()
    if extra.frozen:
        _freeze(network)
    optimizer = make_optimizer(network, optim)
    optimizer.param_groups[:] = _scaled(network, optimizer.param_groups, extra)
    batch = min(optim.batch, len(train))
    steps = len(train) // batch
    if graph:
        capture_passes(network, dataclasses.replace(optim, batch=batch), size=recipe.data.size)
    points = {max(1, round(optim.epochs * part / 4)) for part in (1, 2, 3, 4)}
    curve, right = [], torch.zeros((), device=device)
    for epoch in range(optim.epochs):
        order = np.random.default_rng((recipe.seed, epoch)).permutation(len(train))
        right.zero_()
        for step in range(steps):
            set_lr(optimizer, lr_at(epoch + step / steps, optim))
            numbers = order[step * batch : (step + 1) * batch]
            clips, labels = cut(train, numbers, recipe, span=extra.span, colour=extra.colour, generator=rng)
            clips, targets = mix(normalise(clips), F.one_hot(labels, len(train.classes)).float(), extra, rng)
            with autocast(device, optim.precision):
                logits = network(clips)
                loss = F.cross_entropy(logits, targets, label_smoothing=optim.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
            optimizer.step()
            # Not from the start: BatchNorm's first statistics are far off, since TAM shrinks its maps.
            if extra.ema and 2 * epoch >= optim.epochs:
                mean.update_parameters(network)
                tested = mean.module
            right += (logits.detach().argmax(1) == labels).sum()
        if epoch + 1 in points:
            accuracy = _test(tested, tests, val.labels, recipe)
            curve.append((epoch + 1, accuracy))
            _back(network, extra)
    views = test_clips(val, recipe, clips=2, crops=3)
    return {
        "variant": trial.variant,
        "backbone": recipe.model.backbone,
        "temporal": recipe.model.temporal,
        "seed": recipe.seed,
        "epochs": optim.epochs,
        "steps": steps * optim.epochs,
        "train_top1": round(right.item() / (steps * batch), 4),
        "curve": " ".join(f"{epoch}:{accuracy:.4f}" for epoch, accuracy in curve),
        "val_top1": round(curve[-1][1], 4),
        "val_top1_2x3": round(_test(tested, views, val.labels, recipe), 4),
        "seconds": round(time.monotonic() - started, 1),
    }


def _network(trial: Trial, *, classes: int, device: torch.device) -> VideoNet:
    model, extra = trial.recipe.model, trial.extra
    network = build(model, classes=classes)
    if model.weights:
        load_2d_weights(network.backbone, model.weights)
    if extra.drop_path:
        blocks = [m for m in network.modules() if isinstance(m, InvertedResidual) and m.use_res_connect]
        if not blocks:
            raise SystemExit(f"droppath knows the blocks of mobilenet_v2, not of {model.backbone}")
        for number, block in enumerate(blocks, 1):
            block.conv.register_forward_hook(drop(extra.drop_path * number / len(blocks)))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _norms(network: VideoNet) -> list[nn.BatchNorm2d]:
    """The 2D network's own."""
    return [m for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)]


def _freeze(network: VideoNet) -> None:
    for norm in _norms(network)[1:]:
        norm.eval().requires_grad_(False)


def _back(network: VideoNet, extra: Extra) -> None:
    """To training, after a test."""
    network.train()
    if extra.frozen:
        _freeze(network)


def _scaled(network: VideoNet, groups: list[dict[str, Any]], extra: Extra) -> list[dict[str, Any]]:
    """The groups of parameters, divided by what their learning rate is multiplied with."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    tops = list(dict.fromkeys(_block(name) for name in names.values() if name.startswith("backbone.")))
    found: dict[tuple[int, float], dict[str, Any]] = {}
    for number, group in enumerate(groups):
        for parameter in group["params"]:
            name = names[parameter]
            scale = 1.0 if is_fresh(name) else extra.layers ** (len(tops) - 1 - tops.index(_block(name)))
            scaled = {**group, "params": [], "lr_scale": group["lr_scale"] * scale}
            found.setdefault((number, scale), scaled)["params"].append(parameter)
    return list(found.values())


def _block(name: str) -> str:
    """backbone.features.3.… and backbone.layer2.1.… are blocks; so is a stem's convolution."""
    return ".".join(name.split(".")[:3])


@torch.inference_mode()
def _test(network: nn.Module, views: torch.Tensor, labels: np.ndarray, recipe: Recipe) -> float:
    """Top-1 of views [videos, views, T, 3, S, S], their logits averaged."""
    network.eval()
    logits = []
    for part in views.flatten(0, 1).split(64):
        with autocast(views.device, recipe.optim.precision):
            logits.append(network(normalise(part)).float())
    mean = torch.cat(logits).unflatten(0, views.shape[:2]).mean(1)
    return float((mean.argmax(1).cpu().numpy() == labels).mean())


def _summary(rows: list[dict[str, object]]) -> None:
    """Mean over seeds of each variant and set, the best first."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        key = (str(row["set"]), str(row["hold_out"]), str(row["variant"]))
        found.setdefault(key, []).append(float(str(row["val_top1"])))
    for (name, part, variant), top1 in sorted(found.items(), key=lambda item: (item[0][:2], -fmean(item[1]))):
        deviation = f" ± {stdev(top1):.4f}" if len(top1) > 1 else ""
        mean = f"top-1 {fmean(top1):.4f}{deviation} of {len(top1)} seeds"
        print(f"{name:10} held out {part:4} {variant:28} {mean}")


if __name__ == "__main__":
    main()
