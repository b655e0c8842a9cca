"""The shift of TSM as one fused kernel. The result equals `op.reference` bit for bit.

The gradient of the shift is the shift in the opposite direction.

A frame in channels-last format is a sequence of words. A word is V neighbouring channels that are shifted in
the same direction. The size of a word is 16 bytes if `part` and C allow this. Otherwise, V is the largest
power of two that divides both `part` and C.

Each program copies consecutive words. For each word, the program computes the frame from which to read the
word. The threads of a warp therefore write whole cache lines for any C and part. If each program processed a
range of channels instead, it would write only pieces of cache lines, for example 16 bytes for C = 64.

A cache line that is read also holds channels for neighbouring output frames. These channels stay in the cache
until they are needed, because the cache has room for several frames.
"""

import math

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import device_of

ELEMENTS = 2048  # elements that one program copies
BYTES = 16  # largest size of a word: a thread can load this much with one instruction


@triton.jit
def _shift_kernel(x, y, T, C, PC, part, tiles, AHEAD: tl.constexpr, BW: tl.constexpr, V: tl.constexpr):
    """Copy words from the shifted frames.

    C, PC and part are given as numbers of words, not of channels, so that the compiler knows that all
    addresses are aligned.
    """
    # Use only the first axis of the grid: the second is limited to 65,535, and there may be more images.
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
    """Compute `op.shift` on a GPU. If x is not in channels-last, x is copied to that format.

    Args:
        x: feature maps, as in `op.shift`.
        frames: T.
        part: number of channels shifted in each direction.
        ahead: 1 for the shift, -1 for the opposite shift, which turns the gradient of the output into the
            gradient of x.
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
