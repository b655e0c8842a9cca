"""Test protocols of the papers, by name: which frames and crops are scored, and how scores are averaged.

    k400-10x3   10 clips × 3 crops: Kinetics-400, networks with 8 frames
    k400-4x3    4 clips × 3 crops: Kinetics-400, networks with 16 frames
    sth-1x1     1 clip × 1 crop (the centre): Something-Something V1
    sth-2x3     2 clips × 3 crops: Something-Something V2

    slowfast-10x3   10 clips × 3 crops of 256²: SlowFast, SlowOnly (PySlowFast)
    x3d-10x3-182    10 clips × 3 crops of 182², 256², 356²: X3D XS and S, M, L and XL (PySlowFast)
    nonlocal-10x3   10 clips × 3 crops of 256²: I3D-50 and non-local networks (Wang et al. 2018)
    i3d-video       the whole video, up to 250 frames, in one pass: I3D with Inception, S3D
    r2plus1d-10x1   10 clips × 1 crop of 112², frames resized to 171×128: R(2+1)D (VMZ)
    torchvision-5x1 5 clips × 1 crop of 112², frames resized to 171×128: torchvision's 18-layer networks
    csn-10x3        10 clips × 3 crops of 256²: CSN (VMZ)
    csn-10x1        10 clips × 1 crop of 224²: ip-CSN-50 in Table 4
    tsn-25x10       25 frames × 10 crops of 224² (corners, centre, mirrored): TSN; tsn-25x10-299 with 299²
    trn-1x10        1 clip × 10 crops of 224²: TRN
    blvnet-1x1      1 clip × 1 crop of 224², frames of 224: bLVNet-TAM on Something-Something
    blvnet-3x3      3 clips × 3 crops of 256²: bLVNet-TAM on Kinetics-400 (which 9 views, is not published)
    cpnet-8x6       8 clips of 24 frames × 6 crops of 224²: CPNet
    graph-1x3       1 clip × 3 crops of 256²: I3D with a graph of regions
    artnet-25x10    25 clips × 10 crops of 112² (corners, centre, mirrored), frames of 170×128: ARTNet

These protocols are for Kinetics. They keep the checkpoint's window, which belongs to the network, and average
probabilities; i3d-video averages logits.

For example, `tanet test --eval k400-10x3 --eval.clips 5` uses a protocol, but with 5 clips.
"""

import dataclasses
from dataclasses import dataclass, replace

from tanet.data.frame_sampling import Rate, Sampling, Style
from tanet.data.transforms import Crops
from tanet.errors import UserError
from tanet.evaluation.metrics import Average
from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Protocol:
    """Settings that two tests must share for their accuracies to be comparable."""

    sampling: Sampling
    clips: int
    crops: Crops
    resize: int
    """Short side of the frames before the crop, in pixels."""
    size: int
    """Side length of the crops, in pixels."""
    resize_width: int = 0
    """Width of the frames before the crop, in pixels; 0 keeps their shape."""
    window: int | None = 64
    """Window length for dense sampling, in frames at `rate`. None keeps the recipe's window."""
    rate: Rate = "video"
    """Frame rate of dense windows; see `data.rate`."""
    frames: int = 0
    """Largest number of consecutive frames of a clip. 0: clips as in training."""
    style: Style | None = None
    """Whose rules place clips and crops. None keeps the recipe's style."""
    clip_frames: int = 0
    """Frames per clip, for networks whose weights fit any length. 0: as in training."""
    average: Average = "logits"
    """Whether logits or probabilities are averaged over the views. The published code averages logits."""

    def apply(self, recipe: Recipe) -> Recipe:
        """Return a copy of the recipe with the settings of this protocol, which replace the recipe's own.

        Raises:
            UserError: the recipe's network cannot be tested in this way.
        """
        values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        data = {name: values.pop(name) for name in ("sampling", "window", "rate") if name in values}
        return replace(recipe, data=replace(recipe.data, **data), eval=replace(recipe.eval, **values))


def _dense(clips: int, crops: Crops, *, resize: int, size: int, resize_width: int = 0) -> Protocol:
    """Return a protocol of networks with a window of their own, whose probabilities are averaged."""
    return Protocol(
        "dense",
        clips=clips,
        crops=crops,
        resize=resize,
        resize_width=resize_width,
        size=size,
        window=None,
        style="tanet",
        average="softmax",
    )


def _pyslowfast(size: int) -> Protocol:
    """Return the protocol of PySlowFast for networks tested on crops of `size` pixels."""
    return replace(_dense(10, 3, resize=size, size=size), rate="30fps", style="pyslowfast")


PROTOCOLS: dict[str, Protocol] = {
    "k400-10x3": Protocol("dense", clips=10, crops=3, resize=256, size=256),
    "k400-4x3": Protocol("dense", clips=4, crops=3, resize=256, size=256),
    "sth-1x1": Protocol("uniform", clips=1, crops=1, resize=256, size=224),
    "sth-2x3": Protocol("uniform", clips=2, crops=3, resize=256, size=256),
    "slowfast-10x3": _pyslowfast(256),
    "x3d-10x3-182": _pyslowfast(182),
    "x3d-10x3-256": _pyslowfast(256),
    "x3d-10x3-356": _pyslowfast(356),
    "nonlocal-10x3": _dense(10, 3, resize=256, size=256),
    "r2plus1d-10x1": _dense(10, 1, resize=128, resize_width=171, size=112),
    "torchvision-5x1": _dense(5, 1, resize=128, resize_width=171, size=112),
    "csn-10x3": _dense(10, 3, resize=256, size=256),
    "csn-10x1": _dense(10, 1, resize=256, size=224),
    "artnet-25x10": _dense(25, 10, resize=128, resize_width=170, size=112),
    "tsn-25x10": Protocol("uniform", clips=1, crops=10, resize=256, size=224, clip_frames=25),
    "tsn-25x10-299": Protocol("uniform", clips=1, crops=10, resize=341, size=299, clip_frames=25),
    "trn-1x10": Protocol("uniform", clips=1, crops=10, resize=256, size=224),
    "blvnet-1x1": Protocol("uniform", clips=1, crops=1, resize=224, size=224),
    "blvnet-3x3": replace(_dense(3, 3, resize=256, size=256), average="logits"),
    "cpnet-8x6": replace(_dense(8, 6, resize=224, size=224), clip_frames=24),
    "graph-1x3": _dense(1, 3, resize=256, size=256),
    "i3d-video": Protocol(
        "dense", clips=1, crops=1, resize=256, size=224, window=None, frames=250, style="tanet"
    ),
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol with this name.

    Raises:
        UserError: there is no such protocol. The message lists the known protocols.
    """
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol '{name}': choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
