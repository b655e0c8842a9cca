"""VideoNet runs a 2D network with temporal modules on the frames of a clip and averages the frames' logits.

    clips [B, T, 3, H, W] → images [B·T, 3, H, W] → 2D network with temporal modules → features [B·T, F]
    → linear layer → logits of frames [B·T, classes] → mean over T → logits of clips [B, classes]

The mean over frames is the consensus of TSN (Wang et al., ECCV 2016). Apart from this mean, only the temporal
modules exchange information between frames.
"""

import copy
import warnings
from typing import Literal

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.fusion.fuse_tam import absorb_batch_norms, absorb_convs
from tanet.models.network import Network
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.models.temporal.tam import TAM
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
        """Make each TAM absorb the BatchNorm and the activation before the TAM, in place.

        Returns:
            Number of TAMs that absorbed a BatchNorm.
        """
        absorbed = absorb_batch_norms(self.backbone)
        self.plugged = _plugged_modules(self.backbone)
        return absorbed

    def fuse(self) -> int:
        """Call `absorb_batch_norms`. The name `fuse` is deprecated."""
        warnings.warn("fuse is called absorb_batch_norms now", DeprecationWarning, stacklevel=2)
        return self.absorb_batch_norms()

    def optimize(
        self, *, precision: Literal["float32", "bfloat16"] = "float32", graph: bool = True
    ) -> nn.Module:
        """Return a faster copy for inference, with the same outputs up to rounding.

        Each BatchNorm of the copy is folded into the convolution before it. But on a GPU, a BatchNorm and an
        activation directly before a TAM are absorbed by the TAM; in bfloat16, the TAM also absorbs the 1×1
        convolution before the BatchNorm (fuse_tam.py). The memory format is channels-last.
        The first call with each input shape is slow, because it compiles the network and, on a GPU, captures
        a CUDA graph. The state dict of the copy does not fit any other network.

        Args:
            precision: data type of weights and feature maps; clips must have the same type. A GPU is
                fastest in bfloat16.
            graph: capture a CUDA graph (GPU only). Each call then overwrites the output of the previous call,
                so clone outputs that you keep.

        Returns:
            Module with clips [B, T, 3, H, W] → logits [B, classes], on the network's current device.
            Call the module under `torch.inference_mode()`.
        """
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        if precision not in dtypes:
            raise UserError(f"unknown precision '{precision}': choose from {', '.join(dtypes)}")
        network = copy.deepcopy(self).eval().requires_grad_(False)
        on_gpu = self.head.weight.is_cuda
        if on_gpu:
            network.absorb_batch_norms()
            if precision == "bfloat16":
                absorb_convs(network.backbone)
        fold_batch_norms(network.backbone)
        taken = [module for module in network.modules() if isinstance(module, AbsorbedBatchNorm)]
        frozen = [norm.scale_and_shift() for norm in taken]
        network.to(dtypes[precision])
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, TAM):
                module.to_kernel_layout()
        for norm, pair in zip(taken, frozen, strict=True):
            # The scale and shift are still in float32, because they were computed before the cast.
            norm.frozen = pair
        mode = "reduce-overhead" if graph and on_gpu else None
        return torch.compile(network, mode=mode)  # type: ignore[return-value]


def _plugged_modules(backbone: nn.Module) -> str:
    """Return a string with the names and types of all temporal modules and absorbed BatchNorms."""
    return " ".join(
        f"{name}:{type(module).__name__}"
        for name, module in backbone.named_modules()
        if name.endswith(".temporal") or isinstance(module, AbsorbedBatchNorm)
    )
