"""Interface of all networks, which map clips to logits and give access to the features and the classifier.

    network(clips)             [B, T, C, H, W] → logits [B, classes], C: 3, or 2 for each optical flow
    network.features(clips)    input of the classifier, [B, F]
    network.head(features)     logits [B, classes]

In evaluation mode `head(features(clips))` equals `network(clips)` up to rounding.
"""

import copy
from typing import Literal, Self

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.optimized_network import CpuNetwork, OptimizedNetwork
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.models.temporal.tam import TAM
from tanet.recipes.input_spec import IMAGENET, InputSpec

Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Network(nn.Module):
    """Base class of all networks. Subclasses define the classifier `head`: [B, F] → logits [B, classes].

    Args:
        frames: T, frames per clip.
        input_spec: how clips must be normalised, and the frame step and frame size the network is meant for.
    """

    head: nn.Linear
    channels: int = 3
    """Number of channels of a clip: 3 for RGB, 2 for each optical flow."""
    averages_windows: bool = False
    """Whether the classifier gets averages over windows of 7 × 7 places of the last map, not over all."""
    takes_frames: bool = False
    """Whether the network prepares its clips itself: it takes frames as decoded, uint8 [B, T, H, W, 3]."""
    memory_format: torch.memory_format = torch.channels_last
    """Memory format of the weights of convolutions in which training is fastest on a GPU."""
    optimized_format: torch.memory_format | None = None
    """Memory format for `optimize`; None for `memory_format` (results/speed3d.csv)."""
    temporal_trained: bool = False
    """Whether the temporal modules started from trained weights. If not, the optimizer treats them as new."""
    frozen: tuple[str, ...] = ()
    """Names of the modules that stay in evaluation mode in training (freeze.py)."""

    def __init__(self, *, frames: int, input_spec: InputSpec = IMAGENET) -> None:
        super().__init__()
        self.frames, self.input_spec = frames, input_spec

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the input of the classifier: normalised clips [B, T, C, H, W] → features [B, F]."""
        raise NotImplementedError

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules, from input to output.

        The stages are stem, res2, res3, res4 and res5, with maps of stride 2, 4, 8, 16 and 32. Layers between
        res5 and the classifier belong to res5. A stage without weights is left out.
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Set the network to training or evaluation mode. Frozen modules stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).training = False
        return self

    def set_frames(self, frames: int) -> None:
        """Make the network take clips of another length, in place. Its weights must fit any length.

        Args:
            frames: T, frames per clip.
        """
        for module in self.modules():
            if isinstance(getattr(module, "frames", None), int):
                module.frames = frames  # type: ignore[assignment]

    def to_format(self, layout: torch.memory_format) -> None:
        """Set the memory format of the convolutions' weights, in place.

        Args:
            layout: channels_last for 2D convolutions; channels_last_3d for 3D convolutions, and channels_last
                for 2D convolutions beside them; contiguous_format for PyTorch's usual format.
        """
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        if layout == torch.contiguous_format:
            formats = dict.fromkeys(formats, layout)
        for parameter in self.parameters():
            if parameter.ndim in formats and (parameter.ndim == 4 or layout != torch.channels_last):
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])

    def check_clips(self, clips: torch.Tensor) -> None:
        """Raise ValueError unless the clips have the shape [B, T, C, H, W] of the network's T and C."""
        if clips.ndim != 5 or clips.shape[1:3] != (self.frames, self.channels):
            expected = f"[B, {self.frames}, {self.channels}, H, W]"
            raise ValueError(f"expected clips {expected}, not {list(clips.shape)}")

    def absorb_batch_norms(self) -> int:
        """Make each TAM absorb the BatchNorm and the activation before the TAM, in place.

        Networks in which TAMs cannot do this stay unchanged.

        Returns:
            Number of TAMs that absorbed a BatchNorm.
        """
        return 0

    def prepare_for_inference(self, *, half: bool) -> None:
        """Merge layers in ways that only this family of networks knows, in place, before `optimize` goes on.

        Args:
            half: whether the network will run in bfloat16 or float16.
        """

    def optimize(
        self,
        *,
        precision: Precision = "float32",
        graph: bool = True,
        compile: bool | None = None,
    ) -> nn.Module:
        """Return a faster copy for inference, with the same outputs up to rounding.

        BatchNorms are folded into the convolutions before them. On a GPU, a TAM instead absorbs the BatchNorm
        and the activation directly before it. In 16-bit precision, the TAM also absorbs the 1×1 convolution
        before these (fuse_tam.py), and other convolutions also compute the bias, residual and ReLU that
        follow (fuse_convolutions.py).

        On a GPU, the first call with each input shape compiles the network, picks the fastest kernels and
        captures a CUDA graph, which takes up to a minute. On a CPU, without `compile`, the first call only
        chooses the memory format. The state dict of the copy does not fit any other network.

        Args:
            precision: data type of weights and feature maps. A GPU is fastest in 16 bits. float16 rounds
                less than bfloat16, but numbers above 65,504 overflow; a compiled copy then raises `UserError`
                or warns.
            graph: capture a CUDA graph (GPU only). Each call then overwrites the output of the previous
                call, so clone outputs that you keep.
            compile: compile the network. None: on a GPU only. On a CPU, compiling takes up to minutes
                (results/cpu.csv).

        Returns:
            Module with clips [B, T, C, H, W] → logits [B, classes], on the network's current device.

        Raises:
            UserError: the precision is unknown.
        """
        if precision not in DTYPES:
            raise UserError(f"unknown precision '{precision}': choose from {', '.join(DTYPES)}")
        device, half = self.head.weight.device.type, precision != "float32"
        network = copy.deepcopy(self).eval().requires_grad_(False)
        network.prepare_for_inference(half=half)
        fold_batch_norms(network)
        taken = [module for module in network.modules() if isinstance(module, AbsorbedBatchNorm)]
        frozen = [norm.scale_and_shift() for norm in taken]
        network.to(DTYPES[precision])
        for norm, pair in zip(taken, frozen, strict=True):
            # The scale and shift are still in float32, because they were computed before the cast.
            norm.frozen = pair
        compiles = device == "cuda" if compile is None else compile
        if device == "cpu" and not compiles:
            return CpuNetwork(network)
        network.to_format(self.optimized_format or self.memory_format)
        for module in network.modules():
            if isinstance(module, TAM):
                module.to_kernel_layout()
        return OptimizedNetwork(network, graph=graph) if compiles else network
