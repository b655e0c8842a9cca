"""The command `tanet convert IN OUT`, which converts a checkpoint to another format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from tanet.checkpoints import convert
from tanet.checkpoints.convert.write import check_name
from tanet.cli.common import find_checkpoint, parse
from tanet.cli.lines import say, warn
from tanet.data.annotations import read_class_names
from tanet.errors import UserError
from tanet.recipes.input_spec import Normalisation
from tanet.recipes.network2d import Network2D

OWN = "(default: the file's own, or {})"


@dataclass(frozen=True)
class ConvertFlags:
    r"""Convert another project's checkpoint to tanet's format, or a network of tanet's to another format.

    Examples:

      tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt
      tanet convert mine.safetensors theirs.pth --to mmaction2
      tanet convert 8f.safetensors 16f.safetensors --frames 16 \
          --change-frames interpolate

    The input can be a TANet, a TSM, a TRN or a 2D network (TSN) from published code or from mmaction2; a GST,
    an ECO or a bLVNet-TAM; an I3D, C2D, SlowOnly, SlowFast or X3D from PySlowFast, pytorchvideo or mmaction2;
    an I3D, S3D, R(2+1)D, R3D, MC3 or CSN from other code (docs/convert.md); a file of ImageNet weights with
    the classifier; or a checkpoint of tanet. The network and the number of classes are inferred from the
    weights. No code in a file is executed.
    """

    source: Annotated[Positional[str], arg(metavar="IN")]
    """Checkpoint to read: a file of PyTorch, safetensors, Caffe2 (.pkl), flax (.ckpt) or numpy (.npz); a name
    of published weights; or hf://user/name."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write. The name must end in .safetensors for tanet, in .pyth for pyslowfast and pytorchvideo,
    and in .pth for the other targets."""
    to: convert.Target = "tanet"
    """Project that can read the output file: tanet; official (the published code of TANet, TSM, TSN or TRN)
    or mmaction2 for a 2D network; pyslowfast, pytorchvideo, mmaction2 or torchvision for a 3D network."""
    class_names: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=OWN.format("0, 1, …"))] = None
    """Text file with one class name per line, in the order of the labels."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN.format("finetune's"))] = None
    """Recipe to store with the weights, such as kinetics400 or table2/tsm; `tanet train` lists all. The
    recipe sets the sampling and views."""
    frames: Annotated[int | None, arg(metavar="T", help_behavior_hint=OWN.format("8"))] = None
    """Frames per clip. Set this number for TSM and 2D networks, because the weights do not show it."""
    shift_div: Annotated[int | None, arg(metavar="D", help_behavior_hint=OWN.format("8"))] = None
    """TSM: 1/D of the channels is shifted each way. Set this number if a TSM was trained with another one
    than 8, because the weights do not show it."""
    network: Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN.format("one that fits"))] = None
    """Architecture of another project's 3D network, for example x3d-s. Name it if several architectures have
    these weights; clip and strides are not in the file."""
    normalisation: Annotated[Normalisation | None, arg(help_behavior_hint=OWN.format("its codebase's"))] = (
        None
    )
    """Normalisation of the clips of another project's network: imagenet's or video's mean and std, half
    (0.45, 0.225), plus-minus-one, or BGR minus a mean: caffe (red: 123), tsn (red: 128). The weights do not
    show it."""
    change_frames: Literal["no", "interpolate"] = "no"
    """With --frames: interpolate adapts the weights to the new number of frames. Fine-tune the result."""
    temporal: convert.Temporal = "tam"
    """Temporal module, if the weights do not show it: tanet-r for another project's TANet with this module;
    tsm for a TSM with BN-Inception, which looks like a TSN."""
    attention: Literal["softmax", "dot"] | None = None
    """How non-local blocks of another project's 2D network weigh positions (default: as a config in the file
    says, or softmax). The weights do not show it."""


def run(args: list[str]) -> int:
    """Run `tanet convert IN OUT`."""
    flags = parse(
        ConvertFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet convert", usage="tanet convert IN OUT"
    )
    if flags.change_frames == "interpolate" and flags.frames is None:
        raise UserError("--change-frames needs the number of frames: add --frames")
    check_name(flags.out, to=flags.to)
    path = find_checkpoint(flags.source)
    if flags.out.exists() and flags.out.samefile(path):
        raise UserError(f"{flags.out}: the input file would be overwritten; choose another output file")
    source = convert.read(
        path,
        temporal=flags.temporal,
        frames=flags.frames,
        shift_div=flags.shift_div,
        attention=flags.attention,
        interpolate=flags.change_frames == "interpolate",
        classes=read_class_names(flags.class_names) if flags.class_names else None,
        recipe=flags.recipe,
        network=flags.network,
        normalisation=flags.normalisation,
    )
    model = source.checkpoint.recipe.model
    network = model.backbone if isinstance(model, Network2D) else model.title
    say(f"{flags.source}: {source.kind}, {network}, {len(source.checkpoint.classes)} classes")
    for note in source.notes:
        warn(note)
    for note in convert.write(flags.out, source.checkpoint, to=flags.to):
        warn(note)
    module = f"temporal module {model.temporal}" if isinstance(model, Network2D) else model.title
    say(f"{flags.out}: written for {flags.to}, {module}, {model.frames} frames")
    return 0
