"""Settings of a 2D network with temporal modules."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import setting
from tanet.recipes.network_settings import NetworkSettings, StaticKernel, check_static_kernel


@dataclass(frozen=True)
class Network2D(NetworkSettings):
    """The 2D network and the temporal module inserted into it."""

    family: ClassVar[str] = "2d"

    backbone: str = "resnet50"
    """2D network: resnet18, resnet18_w16, resnet34, resnet50, resnet101, resnet152, resnext50_32x4d,
    mobilenet_v2, shufflenet_v2_x1_0, inception_v3, inception_v3_cuhk, bn_inception, blresnet50 or
    blresnet101."""
    flows: int = setting(0, least=0)
    """Number of successive optical flows that take the place of a frame of the clip. Each has two channels,
    x and y. 0: RGB frames. TSN and TSM: 5."""
    temporal: str = "tam"
    """Temporal module: tam, tanet-r, global, local, global+se, tam-ibm, pool, tconv, tsm, tsm-online, tei,
    i3d, nonlocal, gst, stm or tada; none for the plain 2D network."""
    position: Literal["auto", "a", "b", "c", "d", "input"] = "auto"
    """Position of the temporal module in a residual block. auto: the module's default (b for TAM).
    a, b, c: before conv1, conv2, conv3. d: before the residual addition (Figure 3). input: before the
    block and its shortcut."""
    stages: tuple[Literal["res2", "res3", "res4", "res5"], ...] = ("res2", "res3", "res4", "res5")
    """Stages of the 2D network that get the temporal module. res2 to res5 have stride 4, 8, 16 and 32."""
    blocks: Literal["all", "shortcut", "alternate"] = "all"
    """Blocks of these stages that get the temporal module. shortcut: blocks that add their unchanged
    input, as in published TSM-MobileNetV2s. alternate: every second block, as in TSM's ResNet-101."""
    alpha: int = setting(2, least=1)
    """TAM: the hidden layer of the global branch has alpha · T units (T: frames per clip)."""
    beta: int = setting(4, least=1)
    """TAM: the hidden layer of the local branch has C / beta channels (C: channels of its input)."""
    kernel: int = setting(3, least=1)
    """Number of temporal taps, K, of the kernels of TAM (adaptive kernel), tconv, i3d and pool."""
    local_kernel: int = setting(3, least=1)
    """TAM: number of taps of the local branch. The paper uses 3. The published code uses `kernel` taps."""
    shift_div: int = setting(8, least=2)
    """tsm: C / shift_div channels are shifted forward in time, and as many backward (C: channels).
    TAM with static_kernel shift starts in the same way."""
    center_tap_bias: float = setting(0.0, least=0)
    """TAM, global: mean amount by which the centre tap's logit exceeds the others at the start.
    The paper uses 0. With 6, the weight of the centre tap is 0.96."""
    static_kernel: StaticKernel = "none"
    """TAM, TANet-R, global, local: initial static kernel. A static kernel is K learned weights per channel,
    added to the adaptive kernel. none: no static kernel, as in the paper. zeros: 0. shift: the sum starts as
    TSM: 1 / shift_div of the channels read the next frame, as many the previous frame, the rest the current
    frame. random: normally distributed."""
    static_strength: float = setting(1.0, least=0)
    """TAM, TANet-R, global, local: factor of static_kernel shift, or standard deviation of random."""
    gst_share: int = setting(4, least=2)
    """gst: one of `gst_share` outputs of a 3×3 convolution sees neighbouring frames (the paper's α)."""
    gst_groups: Literal[1, 2] = 2
    """gst: 2: convolutions in space and in time see one half of the channels each. 1: both see all channels
    (GST-Large)."""
    non_local: Literal["none", "softmax", "dot", "gaussian"] = "none"
    """Non-local blocks after every second block of res3 and res4, beside the temporal module, and how they
    weigh positions: softmax (embedded Gaussian), dot product or Gaussian."""
    consensus: Literal["mean", "trn", "trn-multiscale"] = "mean"
    """How the outputs of the frames are combined. mean: average of their logits (TSN). trn: a network on the
    features of all frames in order (TRN). trn-multiscale: the sum over subsets of 2 to T frames."""
    relation_features: int = setting(256, least=1)
    """trn, trn-multiscale: number of features of a frame."""
    relation_draw: Literal["same", "published"] = "same"
    """trn-multiscale: subsets of frames that tests use, up to three of each size. same: one fixed set, so
    that results are reproducible. published: drawn again from NumPy's global generator for each batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone.startswith("blresnet") and (self.temporal, self.non_local) != ("none", "none"):
            raise UserError(
                f"{self.backbone} has no places for temporal modules and non-local blocks: give "
                "--model.temporal none --model.non-local none, or use a bLVNet-TAM (tanet models lists "
                "blvnet-tam-50)"
            )
        check_static_kernel(self.static_kernel, self.temporal, having=("tam", "tanet-r", "global", "local"))
        if self.consensus != "mean" and self.frames < 2:
            raise UserError(f"model.consensus {self.consensus} needs at least 2 frames, not {self.frames}")

    @property
    def any_clip_length(self) -> bool:
        """Return whether the weights of a trained network fit clips of any length."""
        by_frames = ("tam", "tanet-r", "global", "global+se")
        return self.consensus == "mean" and self.temporal not in by_frames

    @property
    def title(self) -> str:
        """Return the 2D network, the temporal module and the consensus."""
        consensus = {"mean": "", "trn": ", TRN", "trn-multiscale": ", multi-scale TRN"}[self.consensus]
        static = "" if self.static_kernel == "none" else " with static kernels"
        attention = "" if self.non_local == "none" else " and non-local blocks"
        flow = " for optical flow" if self.flows else ""
        return f"{self.backbone} with temporal module {self.temporal}{static}{attention}{consensus}{flow}"
