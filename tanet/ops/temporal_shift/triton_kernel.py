"""TSM's shift as one fused pass, equal to `op.reference` to the bit; the gradient is the shift back.

A frame in channels-last is a row of words: V neighbouring channels that move the same way, 16 bytes where
`part` and C allow it, else as many channels as divide both. A program copies a run of words, and looks up
for each word which frame it comes from. So whatever C and part are, a warp writes whole lines, and reads
what makes them up; programs that own a range of channels would touch pieces of lines, of 16 bytes for C =
64. What a line holds for the frames beside waits in the cache, which has room for several frames.
"""

import math

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import device_of

ELEMENTS = 2048  # of a program
BYTES = 16  # of a word at most, as wide as loads are


@triton.jit
def _shift_kernel(x, y, T, C, PC, part, tiles, AHEAD: tl.constexpr, BW: tl.constexpr, V: tl.constexpr):
    """C, PC and part count words, so that the compiler sees them lie at multiples of their size."""
    # On one axis, as a grid's second ends at 65,535, and there may be more images.
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
    """`shift.shift` on a GPU; x is best in channels-last, else it is copied first.

    Args:
        x: as in `shift`, and so frames and part.
        frames: T.
        part: of the channels.
        ahead: 1; -1 for the shift back, which makes the gradient of x of that of y.
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
