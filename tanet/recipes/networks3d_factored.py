"""Settings of networks that factor 3D convolutions: S3D, R(2+1)D, CSN and ARTNet.

The defaults are those of one network of each family; published3d.py has the settings of all published ones.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import setting
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import check_stages


@dataclass(frozen=True)
class S3D(NetworkSettings):
    """S3D and S3D-G (Xie et al., ECCV 2018): I3D whose kernels are separated into space and time."""

    family: ClassVar[str] = "s3d"
    any_frames: ClassVar[bool] = True
    norm_momentum: ClassVar[float] = 0.001

    frames: int = setting(64, least=1)
    gates: Literal["none", "plain", "bias"] = "none"
    """Gates after the second 3×3×3 convolution and in all branches of the Inception blocks, which make
    S3D-G. none: S3D. plain: the authors' gates. bias: gates with a bias, as in HowTo100M's network."""
    stem: Literal["7x1x1", "3x7x7", "cells"] = "7x1x1"
    """First convolution. 7x1x1: separated, 1×7×7 and 7×1×1. 3x7x7: not separated. cells: a 2×4×4 kernel on
    cells of 2×2×2 pixels (HowTo100M's space-to-depth)."""
    norm_eps: float = setting(1e-3, above=0)
    """Number that BatchNorms add to the variance. HowTo100M: 1e-5."""
    pool_padding: Literal["both", "end"] = "both"
    """Sides of a map that max pools pad. end: the last row and column only, as in HowTo100M's network."""
    head_window: Literal["2x7x7", "2", "all"] = "2x7x7"
    """Places of the last map that a logit is an average of, before logits are averaged. 2x7x7: windows of
    2×7×7 (torchvision). 2: two frames (kylemin). all: the whole map (HowTo100M)."""
    dropout: float = setting(0.2, least=0, below=1)

    @property
    def title(self) -> str:
        """Return the name of the network."""
        return "S3D" if self.gates == "none" else "S3D-G"


@dataclass(frozen=True)
class VideoResNet(NetworkSettings):
    """ResNets with basic blocks: R(2+1)D, R3D and MC3 (Tran et al., CVPR 2018)."""

    family: ClassVar[str] = "video-resnet"

    frames: int = setting(32, least=1)
    convolutions: Literal["2+1d", "3d", "mixed"] = "2+1d"
    """Convolutions of the blocks. 2+1d: 1×3×3, BatchNorm, ReLU and 3×1×1. 3d: 3×3×3. mixed: 3×3×3 in res2,
    1×3×3 in res3 to res5 (MC3)."""
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), least=1)
    """Number of blocks in res2, res3, res4 and res5. 3 4 6 3 has 34 layers, 2 2 2 2 has 18."""
    width: int = setting(64, least=1)
    """Channels of the stem and of res2. The next stages have 2, 4 and 8 times as many."""
    style: Literal["vmz", "torchvision", "mmaction2"] = "vmz"
    """Whose R(2+1)D. vmz: the authors'. torchvision: both convolutions of a block have as many channels
    between space and time as the first. mmaction2: a wider stem with max pooling, separated shortcuts."""
    norm_eps: float = setting(1e-3, above=0)
    """Number that BatchNorms add to the variance. torchvision: 1e-5."""
    dropout: float = setting(0.0, least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages("blocks", self.blocks)
        if self.style == "mmaction2" and self.convolutions != "2+1d":
            raise UserError("model.style mmaction2 needs model.convolutions 2+1d")

    @property
    def title(self) -> str:
        """Return the kind and depth of the network."""
        kind = {"2+1d": "R(2+1)D", "3d": "R3D", "mixed": "MC3"}[self.convolutions]
        return f"{kind}-{2 + 2 * sum(self.blocks)}"


@dataclass(frozen=True)
class CSN(NetworkSettings):
    """Channel-separated network (Tran et al., ICCV 2019): bottleneck blocks with depthwise 3×3×3 kernels."""

    family: ClassVar[str] = "csn"

    frames: int = setting(32, least=1)
    interaction: Literal["preserved", "reduced"] = "preserved"
    """Whether channels interact in the place of a 3×3×3 convolution. preserved (ip-CSN): 1×1×1, then
    depthwise 3×3×3. reduced (ir-CSN): only depthwise 3×3×3."""
    blocks: tuple[int, ...] = setting((3, 8, 36, 3), least=1)
    """Number of blocks in res2, res3, res4 and res5. 3 4 6 3 has 50 layers, 3 8 36 3 has 152."""
    width: int = setting(64, least=1)
    """Channels of the stem. A block of res2 has as many channels inside and 4 times as many outside."""
    norm_eps: float = setting(1e-3, above=0)
    """Number that BatchNorms add to the variance. pytorchvideo: 1e-5."""
    dropout: float = setting(0.0, least=0, below=1)
    head_window: int = setting(0, least=0)
    """Side of the windows that the last map is averaged over. At each place of a larger map, the classifier
    answers, and probabilities are averaged (pytorchvideo: 7). 0: one average over the whole map."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages("blocks", self.blocks)

    @property
    def title(self) -> str:
        """Return the kind and depth of the network."""
        kind = {"preserved": "ip", "reduced": "ir"}[self.interaction]
        return f"{kind}-CSN-{2 + 3 * sum(self.blocks)}"


@dataclass(frozen=True)
class ARTNet(NetworkSettings):
    """ARTNet with ResNet-18 (Wang et al., CVPR 2018): SMART units model appearance and relation apart."""

    family: ClassVar[str] = "artnet"

    frames: int = setting(16, least=1)
    width: int = setting(64, least=2)
    """Channels of the stem and of res2; an even number. The next stages have 2, 4 and 8 times as many."""
    dropout: float = setting(0.2, least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise UserError(f"model.width must be even, not {self.width}")

    @property
    def title(self) -> str:
        """Return the name of the network."""
        return "ARTNet-18"
