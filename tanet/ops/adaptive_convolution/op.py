"""Temporal adaptive convolution: a gate, then a K-tap temporal filter for each clip and channel.

    Y[n, t, c] = Σ_k Θ[n, c, k] · Z[n, t + k - K//2, c]        (Z is zero outside the clip)
    Z = gate · act(scale · X + shift)

X is the input and Θ the kernel; n, t and c are the clip, the frame and the channel. The first line combines
eq. 3 and eq. 7 of TAM ("Temporal Adaptive Module for Video Recognition").

In a network, a BatchNorm and a ReLU often come before this convolution. The convolution can compute both
layers itself: the BatchNorm as scale · X + shift, and the ReLU as act. The normalised maps are then never
written to memory.

`reference` is the specification of this operation. All faster implementations are tested against `reference`.
"""

import torch

from tanet.ops.adaptive_convolution.eager import WeightedSum, weighted_sum
from tanet.ops.common.dispatch import Activation, activate, backend_for, check_affine, records_autograd
from tanet.ops.common.filter_inputs import FilterInputs


def adaptive_conv(
    x: torch.Tensor,
    kernel: torch.Tensor,
    *,
    gate: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    act: Activation = "none",
) -> torch.Tensor:
    """Filter each channel of each clip along time, with a separate kernel for each channel and clip.

    Args:
        x: feature maps [N·T, C, H, W]; the frames of a clip are consecutive rows.
        kernel: [N, C, K] with odd K. Index 0 is the weight of the earliest frame (cross-correlation). Taps
            outside the clip read zeros, and the kernel is not renormalised there.
        gate: importance of each frame, [N, C, T]. The activated maps are multiplied by the gate before the
            filter. None for no gate.
        scale: [C]. Each channel of x is first replaced by scale · x + shift. None to leave out this step.
        shift: [C]. Give scale and shift together, or neither of the two.
        act: activation, applied to scale · x + shift.

    Returns:
        [N·T, C, H, W] in the memory format of x; the fused kernels always return channels-last.

    Raises:
        ValueError: the shapes do not match, K is even, scale is given without shift, or act is unknown.
    """
    inputs = FilterInputs(x, kernel, gate, scale, shift, act)
    # Skip the check under torch.compile, where the number of clips may be symbolic.
    if not torch.compiler.is_compiling():
        _check(inputs)
    check_affine(scale, shift, act)
    if backend_for(x, taps=kernel.shape[2], frames=x.shape[0] // kernel.shape[0]) == "triton":
        from tanet.ops.adaptive_convolution.triton_forward import adaptive_conv_triton

        return adaptive_conv_triton(*inputs)
    maps, weight = _weighted(inputs)
    y = WeightedSum.apply(maps, weight) if records_autograd(maps, weight) else weighted_sum(maps, weight)
    return y.flatten(0, 1)  # type: ignore[union-attr]


def _check(inputs: FilterInputs) -> None:
    x, kernel, gate, *_ = inputs
    clips, channels, taps = kernel.shape
    if taps % 2 == 0 or channels != x.shape[1]:
        raise ValueError(f"expected a kernel [{clips}, {x.shape[1]}, K] with odd K, got {list(kernel.shape)}")
    if clips < 1 or x.shape[0] % clips:
        raise ValueError(f"{x.shape[0]} images cannot be divided evenly among {clips} clips")
    expected = (clips, channels, x.shape[0] // clips)
    if gate is not None and gate.shape != expected:
        raise ValueError(f"expected a gate {list(expected)}, got {list(gate.shape)}")


def reference(
    x: torch.Tensor,
    kernel: torch.Tensor,
    *,
    gate: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    act: Activation = "none",
) -> torch.Tensor:
    """Compute `adaptive_conv` with PyTorch's own operations, as the specification for faster versions."""
    return weighted_sum(*_weighted(FilterInputs(x, kernel, gate, scale, shift, act))).flatten(0, 1)


def _weighted(inputs: FilterInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the arguments of `weighted_sum`: the activated maps, and the kernel multiplied by the gate."""
    x, kernel, gate, scale, shift, act = inputs
    maps = activate(x, scale=scale, shift=shift, act=act)
    maps = maps.unflatten(0, (kernel.shape[0], -1))  # [N, T, C, H, W]
    # Multiply the kernel by the gate, because both are small. Multiplying the maps would need a large copy.
    weight = kernel[:, :, None] if gate is None else gate[..., None] * kernel[:, :, None]  # [N, C, T, K]
    weight = weight.expand(-1, -1, maps.shape[1], -1).permute(3, 0, 2, 1).contiguous()  # [K, N, T, C]
    return maps, weight[..., None, None].to(x.dtype)
