"""The command `tanet export CHECKPOINT OUT.onnx`, which writes a network for other runtimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import CheckpointPath, load_checkpoint, parse
from tanet.cli.console import say, warn
from tanet.errors import UserError
from tanet.inference.export_onnx import export_onnx


@dataclass(frozen=True)
class ExportFlags:
    """Export a network to ONNX, and prove that the file computes what the network computes.

    Examples:

      tanet export best.safetensors best.onnx
      tanet predict best.onnx jump.mp4

    Needs pip install 'tanet[onnx]'. The file takes normalised clips, float32 [B, T, C, H, W], and gives
    logits. B is free, T is fixed. Recipe, class names and normalisation are in its metadata. The file is run
    on random clips of three batches and deleted if it differs from the network.
    """

    checkpoint: CheckpointPath
    """Checkpoint, name of published weights, or hf://user/name."""
    out: Annotated[Positional[Path], arg(metavar="OUT.onnx")]
    """File to write."""
    size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the recipe's)")] = None
    """Side of the frames, in pixels."""
    any_size: bool = False
    """Make height and width free, too. The export then takes minutes."""


def run(args: list[str]) -> int:
    """Run `tanet export CHECKPOINT OUT.onnx`."""
    flags = parse(
        ExportFlags(tyro.MISSING, tyro.MISSING),
        args,
        prog="tanet export",
        usage="tanet export CHECKPOINT OUT.onnx",
    )
    if flags.out.suffix.lower() != ".onnx":
        raise UserError(f"{flags.out}: the name must end in .onnx")
    if flags.size is not None and flags.size < 1:
        raise UserError(f"--size must be positive, not {flags.size}")
    model = load_checkpoint(flags.checkpoint, "cpu")
    error = export_onnx(
        model, flags.out, size=flags.size, any_size=flags.any_size, on_step=lambda step: warn(f"{step} …")
    )
    megabytes = flags.out.stat().st_size / 1e6
    say(f"{flags.out}: {megabytes:.1f} MB; logits differ by at most {error:.1e} of the largest one")
    say(f"to use it: tanet predict {flags.out} VIDEO")
    return 0
