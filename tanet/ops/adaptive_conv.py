"""The temporal adaptive convolution: a gate, then a K-tap filter for each clip and channel.

    Y[n, t, c] = Σ_k Θ[n, c, k] · Z[n, t + k - K//2, c],    Z = gate · X, zero outside the clip

TAM ("Temporal Adaptive Module for Video Recognition", eq. 3 and 7). This shift-sum form is the specification:
whatever computes the same faster is tested against it.
"""

import torch


def adaptive_conv(x: torch.Tensor, kernel: torch.Tensor, *, gate: torch.Tensor | None = None) -> torch.Tensor:
    """Filter every channel of every clip along time with a kernel of its own.

    Args:
        x: feature maps [N·T, C, H, W], the frames of a clip in consecutive rows.
        kernel: [N, C, K], K odd; index 0 weighs the frame before (cross-correlation). Nothing is
            normalised again at the ends of the clip, where taps fall on zeros.
        gate: importance of each frame [N, C, T], multiplied in first; None leaves all frames as they are.

    Returns:
        [N·T, C, H, W], in the memory format of x.
    """
    clips, _, taps = kernel.shape
    x = x.unflatten(0, (clips, -1))  # [N, T, C, H, W]
    frames = x.shape[1]
    # Gate times tap first: they are small, and no gated copy of the map need be written.
    weight = kernel[:, :, None] if gate is None else gate[..., None] * kernel[:, :, None]  # [N, C, T, K]
    weight = weight.expand(-1, -1, frames, -1).permute(3, 0, 2, 1)[..., None, None]  # [K, N, T, C, 1, 1]
    y = x * weight[taps // 2]
    # Sums into slices, not a padded copy: that keeps channels-last, and reads no frame that is not there.
    for k in range(taps):
        ahead = k - taps // 2
        if 0 < ahead < frames:
            y[:, :-ahead].addcmul_(x[:, ahead:], weight[k, :, ahead:])
        elif -frames < ahead < 0:
            y[:, -ahead:].addcmul_(x[:, :ahead], weight[k, :, :ahead])
    return y.flatten(0, 1)
