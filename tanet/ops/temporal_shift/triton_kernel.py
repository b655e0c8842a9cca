"""The shift of TSM as one fused pass, bit for bit equal to `op.reference`; the gradient is the reverse shift.

A frame in channels-last is a row of words. A word is V neighbouring channels that shift in the same
direction: 16 bytes where `part` and C allow it, otherwise as many channels as divide both. Each program
copies a run of words and computes for each word which frame it comes from. So a warp writes whole cache lines
for any C and part. If each program owned a range of channels instead, it would write pieces of lines, of only
16 bytes for C = 64. A line that is read also holds channels that belong to neighbouring output frames. Those
channels stay in the cache until they are needed, because the cache has room for several frames.
"""

import math

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import device_of

ELEMENTS = 2048  # elements that one program copies
BYTES = 16  # largest word, the width of a load


@triton.jit
def _shift_kernel(x, y, T, C, PC, part, tiles, AHEAD: tl.constexpr, BW: tl.constexpr, V: tl.constexpr):
    """Copy words; C, PC and part count words, so that the compiler sees that addresses are aligned."""
    # Use one axis of the grid, because the second is limited to 65,535 and there may be more images.
    image = tl.program_id(0) // tiles
    words = tl.program_id(0) % tiles * BW + tl.arange(0, BW)
    c = words % C
    ahead = tl.where(c < part, AHEAD, tl.where(c < 2 * part, -AHEAD, 0))
    t = image % T + ahead
    inside = words < PC
    start = image.to(tl.int64) * PC * V
    within = tl.arange(0, V)[None, :]
    value = tl.load(
        x + start + ((words + ahead * PC)[:, None] * V + within),
        mask=(inside & (t >= 0) & (t < T))[:, None],
        other=0.0,
    )
    tl.store(y + start + (words[:, None] * V + within), value, mask=inside[:, None])


@torch.library.custom_op("tanet::shift", mutates_args=())
def shift_triton(x: torch.Tensor, frames: int, part: int, ahead: int) -> torch.Tensor:
    """Compute `op.shift` on a GPU; x should be in channels-last, otherwise it is copied first.

    Args:
        x: feature maps, as in `op.shift`.
        frames: T.
        part: number of channels shifted in each direction.
        ahead: 1 for the shift; -1 for the reverse shift, which turns the gradient of y into that of x.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    images, channels, places = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    word = math.gcd(part, channels, BYTES // x.element_size())
    words, block = places * channels // word, ELEMENTS // word
    tiles = triton.cdiv(words, block)
    with device_of(x):
        _shift_kernel[(images * tiles,)](
            x, y, frames, channels // word, words, part // word, tiles, AHEAD=ahead, BW=block, V=word
        )
    return y


@shift_triton.register_fake
def _(x, frames, part, ahead):
    return torch.empty_like(x, memory_format=torch.channels_last)


def _setup(ctx, inputs, output):
    _, ctx.frames, ctx.part, ctx.ahead = inputs


def _gradients(ctx, dy):
    return shift_triton(dy, ctx.frames, ctx.part, -ctx.ahead), None, None, None


shift_triton.register_autograd(_gradients, setup_context=_setup)
