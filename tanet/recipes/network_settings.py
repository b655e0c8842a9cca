"""Settings that all networks share. Each family of networks has a subclass with its own settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import Section, setting

StaticKernel = Literal["none", "zeros", "shift", "random"]
"""How the static kernel of a TAM starts; see `TAM`."""


def check_static_kernel(kind: StaticKernel, temporal: str, *, having: Sequence[str]) -> None:
    """Raise UserError if a static kernel is set, but the temporal module is not in `having`."""
    if kind != "none" and temporal not in having:
        raise UserError(
            f"model.static_kernel {kind} works only with model.temporal {', '.join(having)}, not {temporal}: "
            "change one of them, or give --model.static-kernel none"
        )


@dataclass(frozen=True)
class NetworkSettings(Section):
    """The network: clip length, initial weights and dropout. A subclass adds the settings of a family."""

    section: ClassVar[str] = "model"
    family: ClassVar[str]
    """Name of the family in a recipe."""
    any_frames: ClassVar[bool] = False
    """Whether a trained network also takes clips of other lengths than `frames`."""
    norm_momentum: ClassVar[float] = 0.1
    """Weight of a batch in the running statistics of the BatchNorms."""

    frames: int = setting(8, least=1)
    """Number of frames per clip, T."""
    weights: str = setting("", role="place", on_resume="free")
    """File of ImageNet weights, named as in torchvision, for the 2D network or a 3D ResNet, which inflates
    them. Default: random weights."""
    init: str = setting("", role="place", on_resume="free")
    """Checkpoint to start from. The checkpoint's classifier is used only if the classes are the same."""
    init_frames: Literal["same", "interpolate"] = setting("same", role="place")
    """What to do if `init` was trained with another number of frames. same: end with an error.
    interpolate: adapt the weights of `init` to `frames`."""
    dropout: float = setting(0.5, least=0, below=1)
    """Dropout probability before the classifier."""

    @property
    def title(self) -> str:
        """Return what the network is, in a few words."""
        raise NotImplementedError

    @property
    def any_clip_length(self) -> bool:
        """Return whether the weights of a trained network fit clips of any length."""
        return False

    @property
    def channels(self) -> int:
        """Return the number of channels of a clip: 3 for RGB, 2 for each optical flow."""
        return 2 * self.flows_per_frame or 3

    @property
    def flows_per_frame(self) -> int:
        """Return how many optical flows take the place of a frame of the clip; 0 for RGB frames."""
        return getattr(self, "flows", 0)

    @property
    def is_flow(self) -> bool:
        """Return whether the network takes optical flow, not RGB frames."""
        return self.flows_per_frame > 0

    @property
    def tam(self) -> bool:
        """Return whether the network contains temporal adaptive modules."""
        return getattr(self, "temporal", "") == "tam"
