"""`tanet convert IN OUT`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from tanet.checkpoints import convert
from tanet.cli.common import parse
from tanet.cli.console import say, warn
from tanet.data.annotations import read_class_names
from tanet.errors import UserError

OWN = "(default: the file's own, or {})"


@dataclass(frozen=True)
class ConvertFlags:
    r"""Convert a checkpoint of another project to tanet's format, or a TANet to theirs.

      tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt
      tanet convert mine.safetensors theirs.pth --to mmaction2
      tanet convert 8f.safetensors 16f.safetensors --frames 16 \
          --change-frames interpolate

    Supported inputs: TANet, TSM and 2D networks (TSN), from their published code or from mmaction2;
    torchvision's ImageNet weights with their classifier; and tanet's own checkpoints. The backbone, the
    number of classes and (for a TANet) the number of frames are inferred from the weights. No code in a file
    is executed.
    """

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """Checkpoint to read: a PyTorch or a safetensors file."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write: .safetensors for tanet, .pth for the other targets."""
    to: convert.Target = "tanet"
    """Target project: tanet, official (TANet's published code) or mmaction2."""
    class_names: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=OWN.format("0, 1, …"))] = None
    """File of class names, one per line in the order of the labels."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN.format("finetune's"))] = None
    """Recipe whose sampling and views are stored with the weights: kinetics400, something-v1, …"""
    frames: Annotated[int | None, arg(metavar="T", help_behavior_hint=OWN.format("8"))] = None
    """Frames per clip. Set it where the weights do not determine it: TSM, 2D networks, others without TAM."""
    change_frames: Literal["no", "interpolate"] = "no"
    """With --frames: interpolate the weights that depend on the number of frames. Fine-tune the result."""
    temporal: Literal["tam", "tanet-r"] = "tam"
    """Variant of another project's TANet; its weights do not show which. All published files are tam."""


def run(args: list[str]) -> int:
    """Run `tanet convert IN OUT`."""
    flags = parse(
        ConvertFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet convert", usage="tanet convert IN OUT"
    )
    if flags.change_frames == "interpolate" and flags.frames is None:
        raise UserError("--change-frames needs the number of frames: add --frames")
    if flags.out.exists() and flags.out.samefile(flags.source):
        raise UserError(f"{flags.out}: the input file would be overwritten; choose another output file")
    source = convert.read(
        flags.source,
        temporal=flags.temporal,
        frames=flags.frames,
        interpolate=flags.change_frames == "interpolate",
        classes=read_class_names(flags.class_names) if flags.class_names else None,
        recipe=flags.recipe,
    )
    model = source.checkpoint.recipe.model
    say(f"{flags.source}: {source.kind}, {model.backbone}, {len(source.checkpoint.classes)} classes")
    for note in source.notes:
        warn(note)
    for note in convert.write(flags.out, source.checkpoint, to=flags.to):
        warn(note)
    say(f"{flags.out}: written for {flags.to}, temporal module {model.temporal}, {model.frames} frames")
    return 0
