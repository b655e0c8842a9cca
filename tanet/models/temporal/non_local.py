"""The non-local block: every position of every frame attends to all positions of all frames.

    Y = X + BN(W_z A P(g(X)))      P = 1×2×2 max pooling
    A = softmax(θ(X) P(φ(X))ᵀ)     softmax:  embedded Gaussian
    A = θ(X) P(φ(X))ᵀ / places     dot:      dot product, places: those of P(φ(X))
    A = softmax(X P(X)ᵀ)           gaussian: Gaussian, without θ and φ

θ, φ, g and W_z are 1×1 convolutions, with C/2 inner channels. Wang, Girshick, Gupta, He: Non-local Neural
Networks, CVPR 2018. The scale of the BatchNorm is initialised to zero, so the block starts as the identity.

A non-local block is inserted after every second residual block of res3 and res4. ResNet-50 gets five
non-local blocks: after layer2[0], layer2[2], layer3[0], layer3[2] and layer3[4].
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import as_clips


class NonLocal(ClipModule):
    """Non-local block in time and space, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
        attention: kind of A.
    """

    def __init__(
        self, channels: int, *, frames: int, attention: Literal["softmax", "dot", "gaussian"] = "softmax"
    ) -> None:
        super().__init__(frames=frames)
        inner = channels // 2
        self.attention = attention
        if attention != "gaussian":
            self.theta = nn.Conv2d(channels, inner, 1)
            self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        plain = self.attention == "gaussian"
        query = self._places(x if plain else self.theta(x))  # [N, 1, T·H·W, C/2], gaussian: C
        key = self._places(_pool(x if plain else self.phi(x)))  # [N, 1, T·H/2·W/2, C/2], gaussian: C
        value = self._places(_pool(self.g(x)))
        if self.attention == "dot":
            # (θ φᵀ) g = θ (φᵀ g), which needs no matrix of all pairs of places
            found = query @ (key.mT @ value / key.shape[2])
        else:
            found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        found = found.mT.unflatten(3, (self.frames, *x.shape[2:]))  # [N, 1, C/2, T, H, W]
        found = found[:, 0].transpose(1, 2).flatten(0, 1)  # [N·T, C/2, H, W]
        return x + self.norm(self.out(found))

    def attention_products(self, shape: torch.Size) -> int:
        """Return the multiply-adds of attention's two matrix products for an input [N·T, C, H, W].

        This is the published count. "dot" needs fewer, because it multiplies in another order.
        """
        images, channels, height, width = shape
        queries = self.frames * height * width
        pool = 2 if min(height, width) >= 2 else 1
        keys = self.frames * (height // pool) * (width // pool)
        inner = channels // 2 + (channels if self.attention == "gaussian" else channels // 2)
        return (images // self.frames) * queries * keys * inner

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        x = as_clips(x, self.frames).transpose(1, 2)  # [N, C/2, T, H, W]
        return x.flatten(2).mT[:, None]


def _pool(x: torch.Tensor) -> torch.Tensor:
    """Apply 1×2×2 max pooling. If H or W is below 2, return x unchanged."""
    return F.max_pool2d(x, 2) if min(x.shape[2:]) >= 2 else x
