"""Settings of networks between 2D and 3D: ECO, bLVNet-TAM, CPNet, and I3D with a graph of regions.

The defaults are those of one published network of each family.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import setting
from tanet.recipes.network_settings import NetworkSettings


@dataclass(frozen=True)
class ECO(NetworkSettings):
    """ECO (Zolfaghari et al., ECCV 2018): 2D layers of BN-Inception, then a 3D ResNet-18 from res3 on."""

    family: ClassVar[str] = "eco"

    frames: int = setting(16, least=4)
    variant: Literal["lite", "full", "c3d"] = "lite"
    """Parts of the network. lite: 2D layers, then the 3D network. full: also the whole BN-Inception, whose
    features of the frames are averaged. c3d: a 3D ResNet-18 alone, which initializes the 3D network."""
    dropout: float = setting(0.3, least=0, below=1)
    dropout_2d: float = setting(0.5, least=0, below=1)
    """full: dropout probability of BN-Inception's features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames % 4:
            raise UserError(f"model.frames must be a multiple of 4 for ECO, not {self.frames}")

    @property
    def title(self) -> str:
        """Return the name of the network."""
        return {"lite": "ECO-Lite", "full": "ECO", "c3d": "3D ResNet-18 of ECO"}[self.variant]


@dataclass(frozen=True)
class BLVNet(NetworkSettings):
    """bLVNet-TAM (Fan et al., NeurIPS 2019): Big-Little ResNet on pairs of frames."""

    family: ClassVar[str] = "blvnet"

    frames: int = setting(16, least=2)
    """Number of frames per clip, T. The paper writes 16 frames as 8×2."""
    depth: Literal[50, 101] = 50
    """Depth of the Big-Little ResNet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames % 2:
            raise UserError(f"model.frames must be even for bLVNet-TAM, not {self.frames}")

    @property
    def title(self) -> str:
        """Return the name and depth of the network."""
        return f"bLVNet-TAM-{self.depth}"


@dataclass(frozen=True)
class CPNet(NetworkSettings):
    """CPNet (Liu, Lee and Jin, CVPR 2019): 2D ResNet whose modules look for corresponding places in time."""

    family: ClassVar[str] = "cpnet"

    depth: Literal[18, 34] = 34
    """Depth of the 2D network."""
    neighbours: int = setting(8, least=1)
    """Number of most similar places of other frames that each place is compared with, k."""
    width: int = setting(64, least=4)
    """Channels of the stem and of res2. The next stages have 2, 4 and 8 times as many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise UserError(f"model.width must be even for CPNet, not {self.width}")

    @property
    def any_clip_length(self) -> bool:
        """Return whether the weights of a trained network fit clips of any length."""
        return True

    @property
    def title(self) -> str:
        """Return the name and depth of the network."""
        return f"CPNet-{self.depth}"


@dataclass(frozen=True)
class RegionGraphNet(NetworkSettings):
    """I3D whose regions form graphs (Wang and Gupta, ECCV 2018): similarity, and overlap in time."""

    family: ClassVar[str] = "region-graph"

    frames: int = setting(32, least=4)
    boxes: Literal["grid", "given"] = "grid"
    """Regions of every second frame. grid: the whole frame, its 2 × 2 and its 4 × 4 cells, the same in all
    frames. given: boxes that come with the clips (--data.boxes FILE, or `network(clips, boxes=…)`)."""
    non_local: bool = True
    """Whether I3D has five non-local blocks."""
    features: int = setting(512, least=1)
    """Width of the nodes' features."""
    layers: int = setting(3, least=1)
    """Number of graph convolutions in each of the two graphs."""
    width: int = setting(64, least=4)
    """Channels of I3D's stem. res2 to res5 have 4, 8, 16 and 32 times as many."""
    dropout: float = setting(0.3, least=0, below=1)

    @property
    def title(self) -> str:
        """Return the name of the network."""
        return f"{'NL ' if self.non_local else ''}I3D + GCN, boxes: {self.boxes}"
