"""Input specification: how a network expects its clips to be prepared. Each checkpoint contains it.

    x = (v - mean) / std,    v = low + (high - low) · pixel / 255,  (low, high) = range

The defaults are ImageNet's values. Networks of other codebases may expect the range [-1, 1] or [0, 255], or
BGR channels. Networks for optical flow expect x and y of successive flows as channels; one mean and one
standard deviation apply to all of them. `normalisation_of` returns the values that each family of networks is
published with.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import Section, setting
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class InputSpec(Section):
    """Normalisation, frame step and sizes of the clips that a network expects."""

    section: ClassVar[str] = "input"

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, or one for all. It is subtracted from values in `range`."""
    std: tuple[float, ...] = setting((0.229, 0.224, 0.225), above=0)
    """Standard deviation of each channel, or one for all. Values are divided by it after the mean is
    subtracted."""
    range: tuple[float, ...] = (0.0, 1.0)
    """Values of black (pixel 0) and white (pixel 255) before the mean is subtracted."""
    channels: Literal["rgb", "bgr", "flow"] = "rgb"
    """Order of the channels of clips, `mean` and `std`. flow: x and y of each optical flow in turn."""
    frame_step: int = setting(0, least=0)
    """Distance between two frames of a clip, in frames of the video. 0: the clip spans the whole video."""
    resize: int = setting(256, least=0)
    """Short side of the video before the crop, in pixels."""
    size: int = setting(224, least=1)
    """Side length of the crop, in pixels."""
    resize_width: int = setting(0, least=0)
    """Width of the video before the crop if its height is `resize` whatever its shape; 0 keeps the shape."""


IMAGENET = InputSpec()
"""Values in [0, 1], normalised by ImageNet's mean and standard deviation, RGB."""

HALF = InputSpec(mean=(0.45,) * 3, std=(0.225,) * 3)
"""Mean and standard deviation of the non-local, SlowFast and X3D papers: the same for all channels."""
PLUS_MINUS_ONE = InputSpec(mean=(0.0,) * 3, std=(1.0,) * 3, range=(-1.0, 1.0))
"""Values in [-1, 1], as in I3D's code."""
VIDEO = InputSpec(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
"""Mean and standard deviation of Kinetics' frames, as in VMZ and torchvision's video networks."""
CAFFE = InputSpec(mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, range=(0.0, 255.0), channels="bgr")
"""Values in [0, 255] minus a mean, BGR, as in ARTNet's code and other Caffe code."""
TSN = replace(CAFFE, mean=(104.0, 117.0, 128.0))
"""As `CAFFE`, but with the mean of TSN's, TRN's and ECO's code in PyTorch (red: 128)."""
FLOW = InputSpec(mean=(0.5,), std=(0.226,), channels="flow")
"""Optical flow in TSM's code: values in [0, 1], and the mean of ImageNet's standard deviations."""
FLOW_TSN = InputSpec(mean=(128.0,), std=(1.0,), range=(0.0, 255.0), channels="flow")
"""Optical flow for BN-Inception, in the code of TSN and TSM."""
FLOW_MMACTION2 = replace(FLOW_TSN, std=(128.0,))
FLOW_I3D = InputSpec(mean=(0.0,), std=(1.0,), range=(-1.0, 1.0), channels="flow")
Normalisation = Literal[
    "imagenet",
    "half",
    "plus-minus-one",
    "video",
    "caffe",
    "tsn",
    "flow",
    "flow-tsn",
    "flow-mmaction2",
    "flow-i3d",
]
NORMALISATIONS: dict[Normalisation, InputSpec] = {
    "imagenet": IMAGENET,
    "half": HALF,
    "plus-minus-one": PLUS_MINUS_ONE,
    "video": VIDEO,
    "caffe": CAFFE,
    "tsn": TSN,
    "flow": FLOW,
    "flow-tsn": FLOW_TSN,
    "flow-mmaction2": FLOW_MMACTION2,
    "flow-i3d": FLOW_I3D,
}
"""Normalisations in common use, by name."""
NORMALISATION: dict[type[NetworkSettings], InputSpec] = {
    Network2D: IMAGENET,
    InceptionI3D: PLUS_MINUS_ONE,
    ResNet3D: HALF,
    SlowFast: HALF,
    X3D: HALF,
    S3D: PLUS_MINUS_ONE,
    VideoResNet: VIDEO,
    CSN: VIDEO,
    ARTNet: CAFFE,
    ECO: TSN,
    BLVNet: IMAGENET,
    CPNet: IMAGENET,
    RegionGraphNet: HALF,
}
BACKBONE_NORMALISATION = {"bn_inception": TSN, "inception_v3_cuhk": TSN}
"""2D networks that are published with another normalisation than `IMAGENET`."""


def normalisation_of(model: NetworkSettings) -> InputSpec:
    """Return the normalisation that a network is published with."""
    if model.is_flow:
        if isinstance(model, InceptionI3D):
            return FLOW_I3D
        return FLOW_TSN if getattr(model, "backbone", "") == "bn_inception" else FLOW
    if isinstance(model, Network2D):
        return BACKBONE_NORMALISATION.get(model.backbone, IMAGENET)
    return NORMALISATION[type(model)]


def named_normalisation(name: Normalisation, model: NetworkSettings) -> InputSpec:
    """Return the normalisation with this name for a network.

    Raises:
        UserError: the normalisation is for RGB frames and the network takes optical flow, or vice versa.
    """
    spec = NORMALISATIONS[name]
    if (spec.channels == "flow") != model.is_flow:
        kind = "flow" if model.is_flow else "RGB frames"
        known = [name for name, own in NORMALISATIONS.items() if (own.channels == "flow") == model.is_flow]
        raise UserError(
            f"the network takes {kind}, and normalisation {name} does not fit: choose from {', '.join(known)}"
        )
    return spec


def normalisation_text(spec: InputSpec) -> str:
    """Return a normalisation as text, for messages."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    low, high = spec.range
    return f"mean {mean} and std {std} of {spec.channels.upper()} values from {low:g} to {high:g}"


def spec_like(spec: InputSpec, trained: InputSpec) -> InputSpec:
    """Return a copy of `spec` with the normalisation of `trained`, the spec of the pretrained weights.

    A flow network that starts from RGB weights keeps its own normalisation.
    """
    if (spec.channels == "flow") != (trained.channels == "flow"):
        return spec
    return replace(spec, mean=trained.mean, std=trained.std, range=trained.range, channels=trained.channels)


def spec_of(recipe: Recipe) -> InputSpec:
    """Return the input specification of a network that a recipe trains from ImageNet or random weights.

    The normalisation is that of the family of networks. The frame step follows from the recipe's sampling.
    The sizes are those of the recipe's test views.
    """
    dense = recipe.data.sampling == "dense"
    step = recipe.data.window // recipe.model.frames if dense else 0
    eval = recipe.eval
    sizes = {"resize": eval.resize, "resize_width": eval.resize_width, "size": eval.size}
    return replace(normalisation_of(recipe.model), frame_step=step, **sizes)
