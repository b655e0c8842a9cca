"""Settings of the networks with three-dimensional convolutions: I3D, non-local, SlowOnly, SlowFast and X3D.

The defaults are those of one network of each family; published3d.py has the settings of all published ones.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import setting
from tanet.recipes.network_settings import NetworkSettings, StaticKernel, check_static_kernel

Temporal = Literal["conv", "tam"]
SomeBlocks = Literal["all", "even", "odd", "none"]
Attention = Literal["softmax", "dot"]
AttentionStyle = Literal["wang", "mmaction2"]
STAGES = 4


@dataclass(frozen=True)
class InceptionI3D(NetworkSettings):
    """I3D with an Inception network (Carreira and Zisserman, CVPR 2017)."""

    family: ClassVar[str] = "inception-i3d"
    any_frames: ClassVar[bool] = True
    norm_momentum: ClassVar[float] = 0.001

    frames: int = setting(64, least=1)
    flows: int = setting(0, least=0)
    """Number of successive optical flows that take the place of a frame of the clip. Each has two channels,
    x and y. 0: RGB frames. The paper: 1."""

    @property
    def title(self) -> str:
        """Return the name of the network."""
        return f"I3D (Inception){' for optical flow' if self.flows else ''}"


@dataclass(frozen=True)
class _Residual3D(NetworkSettings):
    """Settings that 3D ResNets and SlowFast, whose slow pathway is a 3D ResNet, share."""

    temporal: Temporal = "conv"
    """How a block sees several frames. conv: a 3×1×1 convolution. tam: a 1×1×1 convolution and a TAM."""
    static_kernel: StaticKernel = "none"
    """tam: initial static kernel. A static kernel is K learned weights per channel, added to the adaptive
    kernel. none: no static kernel, as in the paper. zeros: 0. shift: the sum starts as TSM: an eighth of the
    channels read the next frame, an eighth the previous frame, the rest the current frame. random: normally
    distributed."""
    static_strength: float = setting(1.0, least=0)
    """tam: factor of static_kernel shift, or standard deviation of random."""
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), least=1)
    """Number of residual blocks in res2, res3, res4 and res5 (SlowFast: of the slow pathway). 3 4 6 3 is
    ResNet-50, 3 4 23 3 is ResNet-101."""
    non_local: tuple[str, ...] = setting((), may_be_empty=True)
    """Blocks that are followed by a non-local block, such as res3.1; blocks are counted from 0."""
    attention: Attention = "softmax"
    """Weights of a non-local block. softmax: embedded Gaussian. dot: products, divided by their number."""
    attention_style: AttentionStyle = "wang"
    """Form of a non-local block. wang: pool, then convolve; scaled products; the last convolution has a
    bias. mmaction2: convolve, then pool; unscaled products; no bias."""
    head_window: int = setting(7, least=0)
    """Side of the windows that the last map is averaged over. At each place of a larger map, the classifier
    answers, and probabilities are averaged. 0: one average over the whole map, as in mmaction2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages("blocks", self.blocks)
        _check_block_names(self.non_local, self.blocks)
        check_static_kernel(self.static_kernel, self.temporal, having=("tam",))

    @property
    def layers(self) -> int:
        """Return the number of layers with weights, which is in the name of a ResNet."""
        return 2 + 3 * sum(self.blocks)

    @property
    def kinds(self) -> str:
        """Return how the blocks see several frames, in a few words."""
        attention = " and non-local blocks" if self.non_local else ""
        static = "" if self.static_kernel == "none" else " with static kernels"
        return (f"TAM{static}" if self.temporal == "tam" else "3×1×1 convolutions") + attention


@dataclass(frozen=True)
class ResNet3D(_Residual3D):
    """One-pathway 3D ResNet: I3D with ResNet-50, non-local network, C2D, SlowOnly."""

    family: ClassVar[str] = "resnet3d"

    temporal_blocks: tuple[SomeBlocks, ...] = ("none", "none", "all", "all")
    """Blocks of res2, res3, res4 and res5 that see several frames. even, odd: blocks 0, 2, … or 1, 3, …"""
    width: int = setting(64, least=2)
    """Channels of the stem. A block of res2 has as many channels inside and 4 times as many outside."""
    stem_kernel: int = setting(1, least=1)
    """Temporal taps of the first convolution; an odd number."""
    stem_stride: Literal[1, 2] = 1
    """Temporal stride of the first convolution."""
    pool1: Literal["space", "skip", "unpadded"] = "space"
    """Max pooling after the stem. space: 1×3×3, stride 1, 2, 2. skip: the same, on every second frame
    (mmaction2's I3D). unpadded: 2×3×3, stride 2, 2, 2, without padding (video-nonlocal-net)."""
    pool2: Literal["none", "2x1x1", "3x1x1"] = "none"
    """Max pooling over time after res2, with stride 2."""
    res5_stride: Literal[1, 2] = 2
    """Spatial stride of res5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages("temporal_blocks", self.temporal_blocks)
        _check_odd("stem_kernel", self.stem_kernel)
        _check_width(self.width, self.temporal, least=4)

    @property
    def title(self) -> str:
        """Return the kind and depth of the network."""
        sees_time = set(self.temporal_blocks) != {"none"}
        return f"3D ResNet-{self.layers}{f', {self.kinds}' if sees_time or self.non_local else ''}"


@dataclass(frozen=True)
class SlowFast(_Residual3D):
    """SlowFast (Feichtenhofer et al., ICCV 2019): slow pathway of few frames, fast one of few channels."""

    family: ClassVar[str] = "slowfast"

    frames: int = setting(32, least=1)
    """Number of frames per clip, T. The fast pathway gets all of them."""
    speed_ratio: int = setting(8, least=1)
    """The slow pathway gets T / speed_ratio frames (the paper's α)."""
    slow_frames: Literal["linspace", "stride"] = "linspace"
    """Frames of the slow pathway. linspace: evenly spaced, with the first and the last (PySlowFast).
    stride: frames 0, speed_ratio, … (the paper, mmaction2)."""
    fast_blocks: tuple[int, ...] = setting((3, 4, 6, 3), least=1)
    """Number of residual blocks in res2 to res5 of the fast pathway."""
    temporal_blocks: tuple[int, ...] = setting((3, 4, 6, 3), least=0)
    """How many blocks of res2 to res5 see several frames, counted from the first. In the slow pathway, the
    blocks of res2 and res3 never do."""
    width: int = setting(64, least=16)
    """Channels of the slow stem; a multiple of 8. The fast pathway has width / 8."""
    lateral_kernel: int = setting(5, least=1)
    """Temporal taps of the convolutions from the fast to the slow pathway; an odd number."""
    lateral_norm: bool = True
    """Whether a BatchNorm and a ReLU follow these convolutions. mmaction2 has none."""
    attention: Attention = "dot"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("fast_blocks", "temporal_blocks"):
            check_stages(name, getattr(self, name))
        _check_odd("lateral_kernel", self.lateral_kernel)
        if self.frames % self.speed_ratio:
            raise UserError(
                f"model.frames {self.frames} must be a multiple of model.speed_ratio {self.speed_ratio}"
            )
        if self.width % 8:
            raise UserError(f"model.width must be a multiple of 8, not {self.width}")
        _check_width(self.width, self.temporal, least=32)

    @property
    def title(self) -> str:
        """Return the depth of the network and the frames of its pathways."""
        slow = self.frames // self.speed_ratio
        return f"SlowFast-{self.layers} {slow}+{self.frames}, {self.kinds}"


@dataclass(frozen=True)
class X3D(NetworkSettings):
    """X3D (Feichtenhofer, CVPR 2020): depthwise 3×3×3 convolutions; width and depth are scaled by factors."""

    family: ClassVar[str] = "x3d"

    frames: int = setting(16, least=1)
    width_factor: float = setting(2.0, above=0)
    """Factor of the widths 12, 24, 48 and 96; products are rounded to multiples of 8. XL: 2.9."""
    depth_factor: float = setting(2.2, above=0)
    """Factor of the depths 1, 2, 5 and 3; products are rounded up. XS, S, M: 2.2. L, XL: 5."""
    head_window: int = setting(7, least=0)
    """Side of the windows that the last map is averaged over: the training size / 32, rounded up. At each
    place of a larger map, the classifier answers, and probabilities are averaged. 0: one average over the
    whole map, as in mmaction2."""

    @property
    def title(self) -> str:
        """Return the factors of the network."""
        return f"X3D with width × {self.width_factor:g} and depth × {self.depth_factor:g}"


def check_stages(name: str, values: tuple[object, ...]) -> None:
    """Raise UserError unless there is one value for each of res2 to res5."""
    if len(values) != STAGES:
        raise UserError(f"model.{name} needs {STAGES} values, for res2 to res5, not {len(values)}")


def _check_odd(name: str, taps: int) -> None:
    if taps % 2 == 0:
        raise UserError(f"model.{name} must be odd, not {taps}")


def _check_width(width: int, temporal: Temporal, *, least: int) -> None:
    """Raise UserError if the narrowest layers have too few channels for a TAM, which needs 4."""
    if temporal == "tam" and width < least:
        raise UserError(f"model.width must be at least {least} with model.temporal tam, not {width}")


def _check_block_names(names: tuple[str, ...], blocks: tuple[int, ...]) -> None:
    """Raise UserError unless each name is a block of a network with these numbers of blocks."""
    known = [f"res{stage}.{block}" for stage, count in enumerate(blocks, 2) for block in range(count)]
    for name in names:
        if name not in known:
            raise UserError(f"unknown model.non_local '{name}': blocks are res2.0 to {known[-1]}")
