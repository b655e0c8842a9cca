"""Settings of a 2D network with temporal modules."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.recipes.fields import setting
from tanet.recipes.network_settings import NetworkSettings


@dataclass(frozen=True)
class Network2D(NetworkSettings):
    """The 2D network and the temporal module inserted into it."""

    family: ClassVar[str] = "2d"

    backbone: str = "resnet50"
    """2D network: resnet18, resnet18_w16, resnet34, resnet50, resnet101, resnet152, resnext50_32x4d,
    mobilenet_v2, shufflenet_v2_x1_0 or inception_v3."""
    temporal: str = "tam"
    """Temporal module: tam, tanet-r, global, local, global+se, tam-ibm, pool, tconv, tsm, tei, i3d or
    nonlocal; none for the plain 2D network."""
    position: Literal["auto", "a", "b", "c", "d"] = "auto"
    """Position of the temporal module in a residual block. auto: the module's default (b for TAM).
    a, b, c: before conv1, conv2, conv3. d: before the residual addition (Figure 3)."""
    stages: tuple[Literal["res2", "res3", "res4", "res5"], ...] = ("res2", "res3", "res4", "res5")
    """Stages of the 2D network that get the temporal module. res2 to res5 have stride 4, 8, 16 and 32."""
    blocks: Literal["all", "shortcut"] = "all"
    """Blocks of these stages that get the temporal module. shortcut: blocks that add their unchanged
    input, as in published TSM-MobileNetV2s."""
    alpha: int = setting(2, least=1)
    """TAM: the hidden layer of the global branch has alpha · T units (T: frames per clip)."""
    beta: int = setting(4, least=1)
    """TAM: the hidden layer of the local branch has C / beta channels (C: channels of its input)."""
    kernel: int = setting(3, least=1)
    """Number of temporal taps, K, of the kernels of TAM (adaptive kernel), tconv, i3d and pool."""
    local_kernel: int = setting(3, least=1)
    """TAM: number of taps of the local branch. The paper uses 3. The published code uses `kernel` taps."""
    shift_div: int = setting(8, least=2)
    """tsm: C / shift_div channels are shifted forward in time, and as many backward (C: channels)."""
    center_tap_bias: float = setting(0.0, least=0)
    """TAM, global: mean amount by which the centre tap's logit exceeds the others at the start.
    The paper uses 0. With 6, the weight of the centre tap is 0.96."""

    @property
    def title(self) -> str:
        """Return the 2D network and the temporal module."""
        return f"{self.backbone} with temporal module {self.temporal}"
