"""VideoNet runs a 2D network with temporal modules on the frames of a clip and averages the frames' logits.

    clips [B, T, 3, H, W] → images [B·T, 3, H, W] → 2D network with temporal modules → features [B·T, F]
    → linear layer → logits of frames [B·T, classes] → mean over T → logits of clips [B, classes]

The mean over frames is the consensus of TSN (Wang et al., ECCV 2016). Apart from this mean, only the temporal
modules exchange information between frames.
"""

import warnings

import torch
from torch import nn

from tanet.models.fusion.fuse_tam import absorb_batch_norms, absorb_convs
from tanet.models.insertion.sites import stages_of
from tanet.models.network import Network
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.recipes.input_spec import IMAGENET, InputSpec


class VideoNet(Network):
    """2D network that runs on each frame; the frames' logits are averaged: [B, T, 3, H, W] → [B, classes].

    Args:
        backbone: 2D network, images [B·T, 3, H, W] → features [B·T, F].
        features: F, width of the backbone's output.
        frames: T, frames per clip.
        classes: number of classes.
        dropout: dropout probability, applied to each frame's features before the classifier.
        input_spec: how clips must be normalised.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        features: int,
        frames: int,
        classes: int,
        dropout: float = 0.5,
        input_spec: InputSpec = IMAGENET,
    ) -> None:
        super().__init__(frames=frames, input_spec=input_spec)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)
        self.plugged = _plugged_modules(backbone)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        found = stages_of(self.backbone)
        return {stage: tuple(f"backbone.{name}" for name in names) for stage, names in found.items()}

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the features of the frames: [B, T, 3, H, W] → [B, F], in float32 or wider."""
        return self._mean_over_frames(self._frame_features(clips))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the logits of the frames: [B, T, 3, H, W] → [B, classes], in float32 or wider.

        `head(features(clips))` would be cheaper, because it averages the features before the classifier.
        But dropout must draw a separate mask for each frame, and published results come from averaged logits.
        """
        return self._mean_over_frames(self.head(self.dropout(self._frame_features(clips))))

    def _frame_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each frame: [B, T, 3, H, W] → [B·T, F]."""
        # torch.compile ignores hooks when it looks up compiled code.
        # torch.compile could therefore run the code of a plain 2D network, although this network is a TANet.
        # Reading `self.plugged` makes torch.compile compare the names of the temporal modules too.
        if self.plugged is None:
            raise RuntimeError("the network does not know its plugged modules: self.plugged must list them")
        self.check_clips(clips)
        return self.backbone(clips.flatten(0, 1))

    def _mean_over_frames(self, rows: torch.Tensor) -> torch.Tensor:
        """Average over frames, [B·T, C] → [B, C], in float32 or wider, so that close values stay distinct."""
        precision = torch.promote_types(rows.dtype, torch.float32)
        return rows.unflatten(0, (-1, self.frames)).mean(1, dtype=precision)

    def absorb_batch_norms(self) -> int:
        """Make each TAM absorb the BatchNorm and the activation before the TAM; see `Network`."""
        absorbed = absorb_batch_norms(self.backbone)
        self.plugged = _plugged_modules(self.backbone)
        return absorbed

    def fuse(self) -> int:
        """Call `absorb_batch_norms`. The name `fuse` is deprecated."""
        warnings.warn("fuse is called absorb_batch_norms now", DeprecationWarning, stacklevel=2)
        return self.absorb_batch_norms()

    def prepare_for_inference(self, *, half: bool) -> None:
        """Let each TAM absorb the layers before it, in place, if the network is on a GPU."""
        if self.head.weight.is_cuda:
            self.absorb_batch_norms()
            if half:
                absorb_convs(self.backbone)


def _plugged_modules(backbone: nn.Module) -> str:
    """Return a string with the names and types of all temporal modules and absorbed BatchNorms."""
    return " ".join(
        f"{name}:{type(module).__name__}"
        for name, module in backbone.named_modules()
        if name.endswith(".temporal") or isinstance(module, AbsorbedBatchNorm)
    )
