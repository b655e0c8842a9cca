"""The squeeze of TAM in evaluation mode, together with the 1×1 convolution before TAM.

One kernel can compute the convolution's output X and the parts of its squeeze s, without reading X again.
ops/pooling/triton_squeeze.py explains the parts.
"""

from functools import partial

import torch
import triton
import triton.language as tl
from torch.nn import functional as F

from tanet.ops.common.fastest import run_fastest
from tanet.ops.common.triton_tiles import (
    ACTS,
    activate,
    or_placeholder,
    padded_power_of_two,
    part_of_map,
)
from tanet.ops.pooling.triton_squeeze import squeeze

CONV_PARTS, MANY = 8, 256  # most parts per map in `conv_squeeze`; MANY: from this many maps on, two parts


@triton.jit
def _conv_squeeze_kernel(
    x, weight, y, scale, shift, parts_of_s, P, C, IN, tiles_p, tiles_c, tiles, per_part,
    AFFINE: tl.constexpr, ACT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    image, images, part, cs, s, b = part_of_map(scale, shift, tiles, tiles_c, C, AFFINE, BN)
    x += image * P * IN
    y += image * P * C
    sums = tl.zeros([BM, BN], tl.float32)
    # Flattened, the two loops are one, which loads the first block of the next tile in time.
    for tile in tl.range(part * per_part, tl.minimum((part + 1) * per_part, tiles_p), flatten=True):
        ps = tile * BM + tl.arange(0, BM)
        out = tl.zeros([BM, BN], tl.float32)
        for k in tl.range(0, IN, BK, num_stages=STAGES):
            ks = k + tl.arange(0, BK)
            at = x + ps[:, None] * IN + ks[None, :]
            maps = tl.load(at, mask=(ps[:, None] < P) & (ks[None, :] < IN), other=0.0)
            at = weight + cs[None, :] * IN + ks[:, None]
            out = tl.dot(maps, tl.load(at, mask=(cs[None, :] < C) & (ks[:, None] < IN), other=0.0), out)
        inside = (ps[:, None] < P) & (cs[None, :] < C)
        tl.store(y + ps[:, None] * C + cs[None, :], out.to(y.dtype.element_ty), mask=inside)
        sums += tl.where(inside, activate(out * s + b, ACT), 0.0)
    tl.store(parts_of_s + (part * images + image) * C + cs, tl.sum(sums, 0) / P, mask=cs < C)


def conv_squeeze(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    *,
    few: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the output y [N·T, C, H, W] of a 1×1 convolution, and the parts [parts, N·T, C] of y's squeeze.

    One kernel can compute y and the parts, which saves reading y again, but cuDNN can save more. The first
    call with each shape times all ways.

    Args:
        x: input of the convolution [N·T, C', H, W], in channels-last.
        weight: [C, C', 1, 1], in the dtype of x.
        scale: [C]. The squeeze is the mean of act(scale · y + shift).
        shift: [C].
        act: name of the activation.
        few: as in `squeeze`.
    """
    after = (scale, shift, act)

    def with_cudnn() -> tuple[torch.Tensor, torch.Tensor]:
        y = F.conv2d(x, weight).contiguous(memory_format=torch.channels_last)
        return y, squeeze(y, *after, few=few)

    def with_product() -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.mm(x.movedim(1, -1).flatten(0, 2), weight.flatten(1).t())
        y = rows.view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)
        return y, squeeze(y, *after, few=few)

    ways = {"cudnn": with_cudnn}
    if x.dtype != torch.float32:  # PyTorch's TF32 setting does not apply to Triton kernels
        ways |= {"product": with_product}
        ways |= {
            f"kernel, {wide} channels": partial(_conv_squeeze, x, weight, *after, wide=wide)
            for wide in (64, 128)
            if not few and (wide == 64 or weight.shape[0] > 64)
        }
    return run_fastest(("conv_squeeze", x.device, x.dtype, x.shape, weight.shape[0], few), ways)


def _conv_squeeze(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    *,
    wide: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `conv_squeeze` in one launch; each program computes up to `wide` channels."""
    (images, inputs), channels, places = x.shape[:2], weight.shape[0], x.shape[2] * x.shape[3]
    block = {"BM": 64, "BN": min(wide, padded_power_of_two(channels))}
    block["BK"] = padded_power_of_two(inputs, most=8192 // block["BN"])
    tiles_p, tiles_c = triton.cdiv(places, block["BM"]), triton.cdiv(channels, block["BN"])
    per_part = triton.cdiv(tiles_p, 2 if images >= MANY else CONV_PARTS)
    parts = triton.cdiv(tiles_p, per_part)
    new = {"device": x.device, "memory_format": torch.channels_last}
    y = torch.empty(images, channels, *x.shape[2:], dtype=x.dtype, **new)
    out = torch.empty(parts, images, channels, device=x.device, dtype=torch.float32)
    _conv_squeeze_kernel[(parts * tiles_c * images,)](
        x, weight.flatten(1).contiguous(), y, *or_placeholder(scale, shift, otherwise=x), out,
        places, channels, inputs, tiles_p, tiles_c, parts * tiles_c, per_part,
        AFFINE=scale is not None, ACT=ACTS[act], **block, STAGES=3, num_warps=4,
    )  # fmt: skip
    return y, out
