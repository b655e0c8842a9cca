"""The command `tanet convert IN OUT`, which converts a checkpoint to another format."""

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
    r"""Convert another project's checkpoint to tanet's format, or a TANet from tanet's format to another.

    Examples:

      tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt
      tanet convert mine.safetensors theirs.pth --to mmaction2
      tanet convert 8f.safetensors 16f.safetensors --frames 16 \
          --change-frames interpolate

    The input can be a TANet, a TSM or a 2D network (TSN) from published code or from mmaction2. The input
    can also be a file of torchvision's ImageNet weights with the classifier, or a checkpoint of tanet. The
    backbone and the number of classes are inferred from the weights, and for a TANet also the number of
    frames. No code in a file is executed.
    """

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """Checkpoint to read: a PyTorch or a safetensors file."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write. The name must end in .safetensors for tanet, and in .pth for the other targets."""
    to: convert.Target = "tanet"
    """Project that can read the output file: tanet, official (TANet's published code) or mmaction2."""
    class_names: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=OWN.format("0, 1, …"))] = None
    """Text file with one class name per line, in the order of the labels."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN.format("finetune's"))] = None
    """Recipe to store with the weights. The recipe sets the sampling and views. The name is kinetics400,
    kinetics400-16f, something-v1, something-v1-16f, something-v2, something-v2-16f, finetune, finetune-cpu,
    arrow6, verbs, or a row such as table2/tsm; `tanet train` lists the rows."""
    frames: Annotated[int | None, arg(metavar="T", help_behavior_hint=OWN.format("8"))] = None
    """Frames per clip. Set this number for TSM and 2D networks, because the weights do not show it."""
    shift_div: Annotated[int | None, arg(metavar="D", help_behavior_hint=OWN.format("8"))] = None
    """TSM: 1/D of the channels is shifted each way. Set this number if a TSM was trained with another one
    than 8, because the weights do not show it."""
    change_frames: Literal["no", "interpolate"] = "no"
    """With --frames: interpolate adapts the weights to the new number of frames. Fine-tune the result."""
    temporal: Literal["tam", "tanet-r"] = "tam"
    """Temporal module of another project's TANet. Weights do not show the module. Published files use tam."""


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
        shift_div=flags.shift_div,
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
