"""Means over maps: of a channel over the batch (BatchNorm's moments), of a frame over its places (squeeze).

    moments    mean_c, var_c of X[:, c]                    over all images and places; the variance is biased
    squeeze    s[i, c] = mean of act(scale_c · X[i, c] + shift_c)    over the places of image i (eq. 1)

Both read the maps once. The squeeze's gradient needs no second reading for scale and shift: with A the
mean of X and B the part of the places where act is a straight line, s = scale · A + shift · B there.
"""

import torch

from tanet.ops.adaptive_conv import Act, activate, check_affine, implementation


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance [C] of the channels of maps [N, C, H, W], in float32 at least."""
    if implementation(x) == "triton":
        from tanet.ops.statistics_triton import moments_triton

        return moments_triton(x)
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, var


def squeeze(
    x: torch.Tensor,
    *,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    act: Act = "none",
) -> torch.Tensor:
    """The mean over its places of each map of act(scale · x + shift): [N·T, C, H, W] → rows s [N·T, C]."""
    check_affine(scale, shift, act)
    if scale is None or shift is None or implementation(x) != "triton":
        return activate(x, scale=scale, shift=shift, act=act).mean((2, 3))
    from tanet.ops.statistics_triton import straight_parts

    a, b, rest = straight_parts(x, scale.detach(), shift.detach(), act)  # [N·T, C] each
    return scale * a + shift * b + rest
