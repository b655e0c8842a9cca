"""VideoNet: a 2D network that sees the frames of a clip, and the mean of their logits.

    [B, T, 3, H, W] → [B·T, 3, H, W] → 2D network, plugged → [B·T, F] → linear → mean over T → [B, classes]

The consensus over frames is that of TSN (Wang et al., ECCV 2016); the plugged modules are the only other
place where frames meet.
"""

import copy
from typing import Literal

import torch
from torch import nn

from tanet.models.fusion.fold_batch_norm import fold_norms
from tanet.models.fusion.fuse_tam import fuse, take_in_convs
from tanet.models.temporal.absorbed_norm import TakenNorm
from tanet.models.temporal.tam import TAM


class VideoNet(nn.Module):
    """Clips [B, T, 3, H, W] → logits [B, classes].

    Args:
        backbone: images [B·T, 3, H, W] → features [B·T, F].
        features: F.
        frames: T.
        classes: number of classes.
        dropout: before the classifier, on each frame's features.
    """

    def __init__(
        self, backbone: nn.Module, *, features: int, frames: int, classes: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.frames = frames
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)
        self.plugged = _plugged(backbone)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        # torch.compile does not look at hooks to see whether it has compiled such a network before, and would
        # run a 2D network's code for a TANet. At this it looks.
        assert self.plugged is not None
        if clips.ndim != 5 or clips.shape[1] != self.frames:
            raise ValueError(f"expected clips [B, {self.frames}, 3, H, W], not {list(clips.shape)}")
        features = self.backbone(clips.flatten(0, 1))  # [B·T, F]
        logits = self.head(self.dropout(features))  # [B·T, classes]
        # Averaged in float32 at least: bfloat16 would tie what is close.
        precision = torch.promote_types(logits.dtype, torch.float32)
        return logits.unflatten(0, (-1, self.frames)).mean(1, dtype=precision)

    def fuse(self) -> int:
        """Let each TAM take in the BatchNorm and activation before it, in place; return how many did."""
        fused = fuse(self.backbone)
        self.plugged = _plugged(self.backbone)
        return fused

    def optimize(
        self, *, precision: Literal["float32", "bfloat16"] = "float32", graph: bool = True
    ) -> nn.Module:
        """A copy for inference alone: the same answers up to rounding, faster.

        BatchNorms are folded into the convolutions before them. On a GPU each TAM takes in the BatchNorm and
        the activation before it instead, in bfloat16 the 1×1 convolution before those as well (fuse.py).
        Memory is channels-last, the whole is compiled at the first call (which takes its time, again for each
        new shape) and, on a GPU, captured as a CUDA graph. Its state dict fits no other network.

        Args:
            precision: of weights and maps; clips must come in it. A GPU is fastest in bfloat16.
            graph: capture a CUDA graph. An answer is then overwritten by the next: clone what is to stay.

        Returns:
            Clips [B, T, 3, H, W] → logits [B, classes], on the device where the network is now; call it under
            `torch.inference_mode()`.
        """
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        if precision not in dtypes:
            raise ValueError(f"unknown precision '{precision}': known are {', '.join(dtypes)}")
        network = copy.deepcopy(self).eval().requires_grad_(False)
        on_gpu = self.head.weight.is_cuda
        if on_gpu:
            network.fuse()
            if precision == "bfloat16":
                take_in_convs(network.backbone)
        fold_norms(network.backbone)
        taken = [module for module in network.modules() if isinstance(module, TakenNorm)]
        frozen = [norm.scale_and_shift() for norm in taken]
        network.to(dtypes[precision])
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, TAM):
                module.lay_out()
        for norm, pair in zip(taken, frozen, strict=True):
            norm.frozen = pair  # in float32 still
        mode = "reduce-overhead" if graph and on_gpu else None
        return torch.compile(network, mode=mode)  # type: ignore[return-value]


def _plugged(backbone: nn.Module) -> str:
    """What stands in a 2D network that it did not have by itself."""
    return " ".join(
        f"{name}:{type(module).__name__}"
        for name, module in backbone.named_modules()
        if name.endswith(".temporal") or isinstance(module, TakenNorm)
    )
