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
    """Turn a checkpoint of another project into one of tanet's, or a TANet of tanet's into one of theirs.

      tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt
      tanet convert mine.safetensors theirs.pth --to mmaction2
      tanet convert mine8.safetensors mine16.safetensors --frames 16 --change-frames interpolate

    It reads TANet, TSM and 2D networks (TSN) of their published codes and of mmaction2, torchvision's
    ImageNet files with their classifier, and tanet's own checkpoints. Which 2D network it is, the number of
    classes and, for a TANet, the number of frames are seen in the weights. Nothing in a file is executed.
    """

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """The file to read, of PyTorch's or of safetensors."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """The file to write: .safetensors for tanet, .pth for others."""
    to: convert.Target = "tanet"
    """Who is to read it: tanet, TANet's published code (official), or mmaction2."""
    class_names: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=OWN.format("0, 1, …"))] = None
    """Class names, one a line in the order of the labels."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN.format("finetune's"))] = None
    """Recipe whose sampling and views the network is to be used with: kinetics400, something-v1, …"""
    frames: Annotated[int | None, arg(metavar="T", help_behavior_hint=OWN.format("8"))] = None
    """Frames of a clip, where the weights do not tell: those of TSM, 2D networks and others without TAM."""
    change_frames: Literal["no", "interpolate"] = "no"
    """With --frames: whether to change weights that fit one number of frames alone. Fine-tune them then."""
    temporal: Literal["tam", "tanet-r"] = "tam"
    """What a TANet of others is, which its weights do not tell. All that were published are tam."""


def run(args: list[str]) -> int:
    """`tanet convert IN OUT`"""
    flags = parse(
        ConvertFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet convert", usage="tanet convert IN OUT"
    )
    if flags.change_frames == "interpolate" and flags.frames is None:
        raise UserError("--change-frames needs to know how many: add --frames")
    if flags.out.exists() and flags.out.samefile(flags.source):
        raise UserError(f"{flags.out}: the file that is read would be overwritten; name another")
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
