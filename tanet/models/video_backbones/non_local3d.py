"""Non-local blocks of 3D networks: [B, C, T, H, W] → the same shape.

    Y = X + BN(W_z A g(P(X)))      A = softmax(θ(X)ᵀ φ(P(X)) / √d)   or   θ(X)ᵀ φ(P(X)) / (number of places)

θ, φ, g and W_z are 1×1×1 convolutions, d = C/2, and P is a 1×2×2 max pooling. Wang et al., "Non-local Neural
Networks", CVPR 2018. mmaction2's blocks differ: P comes after φ and g, products are not scaled by √d, and W_z
has no bias. The scale of the BatchNorm starts at zero, so the block starts as the identity.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.recipes.networks3d import Attention, AttentionStyle


class NonLocal3d(nn.Module):
    """Non-local block in time and space.

    Args:
        channels: C.
        attention: weights of the places: "softmax" (embedded Gaussian) or "dot" (dot product).
        style: "wang" for the form of the paper's code and PySlowFast, "mmaction2" for mmaction2's form.
    """

    def __init__(self, channels: int, *, attention: Attention, style: AttentionStyle) -> None:
        super().__init__()
        inner = channels // 2
        self.attention: Attention = attention
        self.pool_first = self.scaled = style == "wang"
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1, bias=style == "wang")
        self.norm = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add to each place of a clip what it attends to; the class docstring gives the shapes."""
        query = self.theta(x)
        if self.pool_first:
            pooled = _pool(x)
            key, value = self.phi(pooled), self.g(pooled)
        else:
            key, value = _pool(self.phi(x)), _pool(self.g(x))
        query, key, value = (maps.flatten(2) for maps in (query, key, value))  # [B, d, places]
        if self.attention == "softmax":
            scale = None if self.scaled else 1.0  # None: 1/√d
            query, key, value = (maps.mT[:, None] for maps in (query, key, value))  # [B, 1, places, d]
            found = F.scaled_dot_product_attention(query, key, value, scale=scale)[:, 0].mT
        else:
            # (θᵀφ) g = θᵀ (φ g), which needs no matrix of all pairs of places
            found = (value @ key.mT / key.shape[2]) @ query  # [B, d, places]
        return x + self.norm(self.out(found.unflatten(2, x.shape[2:])))

    def attention_products(self, shape: torch.Size) -> int:
        """Return the multiply-adds of the products of all pairs of places, for an input [B, C, T, H, W].

        This is the published count. "dot" needs fewer, because it multiplies in another order.
        """
        clips, channels, frames, height, width = shape
        pool = _pool_sides(height, width)
        keys = frames * (height // pool[0]) * (width // pool[1])
        return 2 * clips * (frames * height * width) * keys * (channels // 2)


def _pool(x: torch.Tensor) -> torch.Tensor:
    """Apply 1×2×2 max pooling, but never to a side of 1."""
    sides = _pool_sides(*x.shape[3:])
    return F.max_pool3d(x, (1, *sides)) if max(sides) > 1 else x


def _pool_sides(height: int, width: int) -> tuple[int, int]:
    return min(2, height), min(2, width)
