"""Compare exported files with their networks, for all temporal modules and families, with few channels.

    pip install 'tanet[onnx]' && python -m bench export [--names tam slowfast] [--any-size] [--to onnx pt2]
    python -m bench export --names tanet-r50 slowfast-r50 x3d-m --size 224    # as published

`error` is the largest error of a logit, relative to the largest logit, over batches of 1, 2 and 5 clips;
`seconds` is the time to export and compare; `cause` says why an export failed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from torch import nn

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.exported.formats import FORMATS, FormatName
from tanet.errors import UserError
from tanet.inference.export.export import export
from tanet.models.factory import build
from tanet.models.temporal import TEMPORAL
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, SlowFast
from tanet.recipes.recipe import Data, Eval, Recipe
from tests.models.test_hybrid_networks import NARROW as HYBRIDS
from tests.support.narrow_networks import NARROW

KEY = ("network", "to", "input", "any_size")
PACKAGES = ("torch", "onnx", "onnxruntime")
SIZE = 64


def networks() -> dict[str, NetworkSettings]:
    """Return the narrow networks by name."""
    plugged = {
        name: Network2D(backbone="resnet18_w16", temporal=name, frames=4, dropout=0.0)
        for name in ("none", *TEMPORAL)
        if name != "none"
    }
    plugged["none"] = Network2D(backbone="resnet18_w16", temporal="none", frames=4, dropout=0.0)
    plugged["tsm-flow"] = Network2D(backbone="resnet18_w16", temporal="tsm", frames=4, flows=5, dropout=0.0)
    return {**plugged, **NARROW, **HYBRIDS}


FULL: dict[str, NetworkSettings] = {
    "tanet-r50": Network2D(backbone="resnet50", temporal="tam", frames=8),
    "slowfast-r50": SlowFast(),
    "x3d-m": X3D(),
}


def flags(parser: argparse.ArgumentParser) -> None:
    narrow = list(networks())
    parser.add_argument("--names", nargs="+", choices=[*narrow, *FULL], default=narrow)
    parser.add_argument("--to", nargs="+", choices=list(FORMATS), default=["onnx"])
    parser.add_argument("--input", choices=("clips", "frames"), default="clips")
    parser.add_argument("--any-size", action="store_true")
    parser.add_argument("--size", type=int, default=SIZE)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name, to in product(flags.names, flags.to):
        yield row(name, to, flags)


def row(name: str, to: FormatName, flags: argparse.Namespace) -> dict[str, object]:
    start, cause, error = time.perf_counter(), "", ""
    try:
        model = checkpoint_of({**networks(), **FULL}[name], size=flags.size)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"network{FORMATS[to].suffix}"
            found = export(model, path, input=flags.input, any_size=flags.any_size)
            error = f"{found.error:.1e}"
    except UserError as fault:
        cause = str(fault)[-160:]
    return {
        "network": name,
        "to": to,
        "input": flags.input,
        "any_size": flags.any_size,
        "error": error,
        "seconds": round(time.perf_counter() - start, 1),
        "cause": cause,
    }


def checkpoint_of(settings: NetworkSettings, *, size: int) -> Checkpoint:
    """Build a network whose weights are all drawn, so that no module is the identity."""
    torch.manual_seed(0)
    network = build(settings, classes=5)
    for name, parameter in network.named_parameters():
        if ".temporal." in name or ".non_local." in name or not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    recipe = Recipe(
        data=Data(window=64, sampling="uniform"), model=settings, eval=Eval(resize=size, size=size)
    )
    return Checkpoint(network.eval(), recipe, tuple("abcde"))
