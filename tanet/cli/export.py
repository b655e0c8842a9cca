"""The command `tanet export CHECKPOINT`, which writes a network for other runtimes."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.checkpoints.exported.formats import FORMATS, FormatName, InputKind, format_of
from tanet.cli.common import CheckpointPath, load_checkpoint, parse
from tanet.cli.console import Waiting
from tanet.cli.lines import say, warn
from tanet.errors import UserError
from tanet.inference.export.export import check_target, export
from tanet.inference.export.quantize import export_int8
from tanet.runtime.interrupt import exit_on_sigterm


@dataclass(frozen=True)
class ExportFlags:
    """Export a network to ONNX, PyTorch (.pt2), ExecuTorch (.pte) or OpenVINO, and check the file.

    Examples:

      tanet export best.safetensors                  # writes best.onnx
      tanet export tsm-r50-k400 tsm.pte              # for phones
      tanet export best.safetensors --input frames   # takes frames of any size
      tanet predict best.onnx jump.mp4

    The output is logits. A file takes any number of clips (.pte: one), each with as many frames as in
    training. Its metadata has recipe, class names and normalisation. The command runs the file on random
    inputs and deletes it if its logits differ from the network's.
    """

    checkpoint: CheckpointPath
    """Checkpoint, name of published weights, or hf://user/name."""
    out: Annotated[
        Positional[Path | None], arg(metavar="OUT", help_behavior_hint="(default: by CHECKPOINT)")
    ] = None
    """File to write. Default: the checkpoint's name, with the suffix of the format."""
    to: Annotated[FormatName | None, arg(help_behavior_hint="(default: by OUT, or onnx)")] = None
    """Format. onnx needs pip install 'tanet[onnx]', pte 'tanet[executorch]', openvino 'tanet[openvino]'."""
    input: InputKind = "clips"
    """clips: normalised, float32 [B, T, C, H, W]. frames: as decoded, uint8 [B, T, H, W, 3], of any size; the
    file resizes, crops and normalises them."""
    size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the recipe's)")] = None
    """Height and width of the clips, or of the crop that the file cuts from frames, in pixels."""
    any_size: bool = False
    """Let clips have any height and width (not .pte). The export then takes about a minute longer."""
    int8: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Quantize to int8 (openvino, clips). FOLDER has labelled videos, as for training. The command reports
    the accuracies of int8 and float32."""


def run(args: list[str]) -> int:
    """Run `tanet export CHECKPOINT`."""
    flags = parse(ExportFlags(tyro.MISSING), args, prog="tanet export", usage="tanet export CHECKPOINT [OUT]")
    out = flags.out or _out(flags.checkpoint, flags.to or "onnx")
    if flags.size is not None and flags.size < 1:
        raise UserError(f"--size must be positive, not {flags.size}")
    to = check_target(out, flags.to)
    if flags.int8 and to != "openvino":
        raise UserError("--int8 is for --to openvino")
    exit_on_sigterm()  # the temporary folder is then removed
    model = load_checkpoint(flags.checkpoint, "cpu")
    if model.recipe.eval.frames:
        most, frames = model.recipe.eval.frames, model.recipe.model.frames
        warn(f"the network is tested on clips of up to {most} frames; the file takes {frames}")
    options = {"input": flags.input, "size": flags.size, "any_size": flags.any_size}
    with Waiting() as waiting:
        if flags.int8:
            written = export_int8(model, out, flags.int8, **options, on_step=waiting.show)
        else:
            written = export(model, out, to=to, **options, on_step=waiting.show)
    say(f"{out}: {written.megabytes:.1f} MB; {written.summary}")
    say(f"to use it: tanet predict {shlex.quote(str(out))} VIDEO")
    return 0


def _out(checkpoint: str, to: FormatName) -> Path:
    """Return the default name: beside a checkpoint of the user, or here for published weights."""
    path = Path(checkpoint)
    if format_of(path):
        raise UserError(f"{path}: an exported network; name the checkpoint it was made from")
    if path.is_dir():
        path /= "best.safetensors"
    folder = path.parent if path.is_file() else Path()
    name = path.stem if path.is_file() else path.name
    return folder / f"{name}{FORMATS[to].suffix}"
