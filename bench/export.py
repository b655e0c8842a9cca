"""Compare exported networks with the networks themselves: every temporal module and every family, narrow.

    pip install 'tanet[onnx]' && python -m bench export [--names tam slowfast] [--any-size]

`error` is the largest error of a logit, relative to the largest logit, over batches of 1, 2 and 5 clips;
`seconds` are those of export and comparison.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.errors import UserError
from tanet.inference.export_onnx import export_onnx
from tanet.models.factory import build
from tanet.models.temporal import TEMPORAL
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Data, Eval, Recipe
from tests.models.test_hybrid_networks import NARROW as HYBRIDS
from tests.support.narrow_networks import NARROW

KEY = ("network", "any_size")
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


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--names", nargs="+", choices=list(networks()), default=list(networks()))
    parser.add_argument("--any-size", action="store_true")
    parser.add_argument("--size", type=int, default=SIZE)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name in flags.names:
        start, cause, error = time.perf_counter(), "", ""
        try:
            model = checkpoint_of(networks()[name], size=flags.size)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.onnx"
                error = f"{export_onnx(model, path, size=flags.size, any_size=flags.any_size):.1e}"
        except UserError as fault:
            cause = str(fault)[-160:]
        seconds = round(time.perf_counter() - start, 1)
        yield {
            "network": name,
            "any_size": flags.any_size,
            "error": error,
            "seconds": seconds,
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
