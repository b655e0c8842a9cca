"""The strided convolution of op.py in two launches: one packs the images, one multiplies.

For windows of one frame, each program of the second kernel walks down the rows of packed pixels. It loads a
row once and adds its products to all output rows that need them. These sums stay in registers, where max
pooling reads them, so the convolution's output, four times as large as the pooled one, is never written.
Windows of several frames, or a stride along time, use `_windows_kernel`.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, device_of, or_placeholder, padded_power_of_two
from tanet.ops.stem_convolution.packing import output_shape, packed_channels

PIXELS = 128  # packed pixels that one program writes
COLUMNS, CHANNELS = 64, 64  # columns and channels of the convolution's outputs per program
STRIP, FEW, SHORT = 56, 64, 4  # pairs of rows per program; for up to FEW frames, SHORT pairs
# Loads in flight and warps per program, for windows of one frame and of several.
ROWS, WINDOWS = {"STAGES": 3, "num_warps": 4}, {"BM": 128, "STAGES": 3, "num_warps": 4}


@triton.jit
def _pack_kernel(
    x, packed, x_n, x_c, x_t, x_h, x_w, T, H, W, HP, WP, tiles,
    BEFORE: tl.constexpr, C: tl.constexpr, PACK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write BP pixels of one packed image [HP, WP, PACK]."""
    image = (tl.program_id(0) // tiles).to(tl.int64)
    ps = tl.program_id(0) % tiles * BP + tl.arange(0, BP)
    js = tl.arange(0, PACK)
    high = ((ps // WP - BEFORE) * 2)[:, None] + (js // (2 * C))[None, :]
    wide = ((ps % WP - BEFORE) * 2)[:, None] + (js // C % 2)[None, :]
    inside = (js < 4 * C)[None, :] & (high >= 0) & (high < H) & (wide >= 0) & (wide < W)
    x += image // T * x_n + image % T * x_t
    value = tl.load(x + (js % C)[None, :] * x_c + high * x_h + wide * x_w, mask=inside, other=0.0)
    at = image * HP * WP * PACK + ps[:, None] * PACK + js[None, :]
    tl.store(packed + at, value, mask=(ps < HP * WP)[:, None])


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _add_row(pixels, weights, sums, BM: tl.constexpr, BN: tl.constexpr, TAPS: tl.constexpr):
    """Add a row of packed pixels to the TAPS output rows that depend on it; the first one is then complete.

    `sums` holds the TAPS - 1 output rows to which earlier packed rows were added.
    """
    sums += (tl.zeros([BM, BN], tl.float32),)
    added = ()
    for j in tl.static_range(TAPS):
        added += (tl.dot(pixels, weights[TAPS - 1 - j], sums[j]),)
    return added


@triton.jit
def _rows_kernel(
    packed, weight, bias, y, HP, WP, HO, WO, HY, WY, OUT, tiles, strips, per_strip,
    TAPS: tl.constexpr, PACK: tl.constexpr, POOL: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute some pairs of rows of one frame, in BM columns of the convolution's outputs."""
    frame = (tl.program_id(0) // (tiles * strips)).to(tl.int64)
    tile, strip = tl.program_id(0) % tiles, tl.program_id(0) // tiles % strips
    outs, ks = tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    weights = ()
    for a in tl.static_range(TAPS):
        rows_of_weight = (a * TAPS * PACK + ks[:, None]) * OUT + outs[None, :]
        weighs = (ks < TAPS * PACK)[:, None] & (outs < OUT)[None, :]
        weights += (tl.load(weight + rows_of_weight, mask=weighs, other=0.0),)
    b = tl.zeros([1, BN], tl.float32)
    if BIAS:
        b += tl.load(bias + outs, mask=outs < OUT, other=0.0).to(tl.float32)[None, :]
    if POOL:
        # Pooled column q needs the columns 2q - 1, 2q and 2q + 1, so a tile starts one pair of columns early.
        columns = (tile * (BM // 2 - 1) - 1) * 2 + tl.arange(0, BM)
        halves = tl.arange(0, BM // 2)
        qs = tile * (BM // 2 - 1) - 1 + halves
        stored = (halves > 0) & (qs < WY)
    else:
        columns = tile * BM + tl.arange(0, BM)
        qs, stored = columns, columns < WO
    valid = (columns >= 0) & (columns < WO)
    start = columns[:, None] * PACK + ks[None, :]
    mask = valid[:, None] & (ks < TAPS * PACK)[None, :]
    packed += frame * HP * WP * PACK
    sums = ()
    for _ in tl.static_range(TAPS - 1):
        sums += (tl.zeros([BM, BN], tl.float32),)
    last_row = tl.full([BM, BN], float("-inf"), tl.float32)  # row 2p - 1, which pooled row p needs
    first, last = strip * per_strip, tl.minimum((strip + 1) * per_strip, (HO + 1) // 2)
    # Earlier pairs have packed rows that the first row needs.
    for pair in tl.range(first - (TAPS + 1) // 2, last, num_stages=STAGES):
        below = 2 * pair + TAPS - 1  # the packed row that completes row 2 · pair
        pixels = tl.load(
            packed + below * WP * PACK + start, mask=mask & (below >= 0) & (below < HP), other=0.0
        )
        pixels2 = tl.load(
            packed + (below + 1) * WP * PACK + start,
            mask=mask & (below + 1 >= 0) & (below + 1 < HP),
            other=0.0,
        )
        added = _add_row(pixels, weights, sums, BM, BN, TAPS)
        row, sums = added[0], added[1:]
        added = _add_row(pixels2, weights, sums, BM, BN, TAPS)
        row2, sums = added[0], added[1:]
        if POOL:
            row = tl.where((valid & (pair >= 0))[:, None], row, float("-inf"))
            row2 = tl.where((valid & (pair >= 0) & (2 * pair + 1 < HO))[:, None], row2, float("-inf"))
            highest = _larger(_larger(last_row, row), row2)
            last_row = row2
            even, odd = tl.split(tl.permute(tl.reshape(highest, [BM // 2, 2, BN]), [0, 2, 1]))
            before = tl.broadcast_to(tl.maximum(halves - 1, 0)[:, None], [BM // 2, BN])
            out = _larger(_larger(even, odd), tl.gather(odd, before, 0))
            out = activate(out + b, 1 if RELU else 0).to(y.dtype.element_ty)
            to = ((frame * HY + pair) * WY + qs)[:, None] * OUT + outs[None, :]
            tl.store(y + to, out, mask=(stored & (pair >= first))[:, None] & (outs < OUT)[None, :])
        else:
            out = activate(row + b, 1 if RELU else 0).to(y.dtype.element_ty)
            to = ((frame * HY + 2 * pair) * WY + qs)[:, None] * OUT + outs[None, :]
            tl.store(y + to, out, mask=(stored & (pair >= first))[:, None] & (outs < OUT)[None, :])
            out = activate(row2 + b, 1 if RELU else 0).to(y.dtype.element_ty)
            exists = stored & (pair >= first) & (2 * pair + 1 < HO)
            tl.store(y + to + WY * OUT, out, mask=exists[:, None] & (outs < OUT)[None, :])


@triton.jit
def _windows_kernel(
    packed, weight, bias, y, T, TO, HP, WP, HO, WO, OUT, tiles, step,
    KT: tl.constexpr, TAPS: tl.constexpr, PACK: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute BM output pixels of one frame, for windows with any number of frames."""
    frame = tl.program_id(0) // tiles
    n, to = (frame // TO).to(tl.int64), frame % TO
    ms = tl.program_id(0) % tiles * BM + tl.arange(0, BM)
    outs, ks = tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    start = (ms // WO * WP + ms % WO)[:, None] * PACK + ks[None, :]
    valid = (ms < HO * WO)[:, None] & (ks < TAPS * PACK)[None, :]
    at_weight = ks[:, None] * OUT + outs[None, :]
    weighs = (ks < TAPS * PACK)[:, None] & (outs < OUT)[None, :]
    total = tl.zeros([BM, BN], tl.float32)
    for i in tl.range(0, KT * TAPS, num_stages=STAGES):
        t = to * step + i // TAPS - KT // 2
        row = packed + ((n * T + t) * HP + i % TAPS) * WP * PACK
        pixels = tl.load(row + start, mask=valid & (t >= 0) & (t < T), other=0.0)
        w = tl.load(weight + i * TAPS * PACK * OUT + at_weight, mask=weighs, other=0.0)
        total = tl.dot(pixels, w, total)
    if BIAS:
        total += tl.load(bias + outs, mask=outs < OUT, other=0.0).to(tl.float32)[None, :]
    total = activate(total, 1 if RELU else 0)
    to_y = y + (frame.to(tl.int64) * HO * WO + ms[:, None]) * OUT + outs[None, :]
    tl.store(to_y, total.to(y.dtype.element_ty), mask=(ms < HO * WO)[:, None] & (outs < OUT)[None, :])


def stem_conv_triton(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    size: int,
    step: int,
    relu: bool,
    pool: bool,
) -> torch.Tensor:
    """Compute `stem_conv` on a GPU; see there. `pool` requires a window of one frame and step 1."""
    images, channels, frames, height, width = x.shape
    taps, pack, outputs = size // 2 + 1, packed_channels(channels), weight.shape[2]
    times = weight.shape[0] // taps
    rows, columns = (height + 1) // 2, (width + 1) // 2  # of the convolution's outputs
    high, wide = rows + taps - 1, columns + taps - 1
    packed = torch.empty(images * frames, high, wide, pack, dtype=x.dtype, device=x.device)
    shape = output_shape(x, weight, step=step, pool=pool)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)
    tiles = triton.cdiv(high * wide, PIXELS)
    options = {"TAPS": taps, "PACK": pack, "BIAS": bias is not None, "RELU": relu}
    options |= {"BN": min(CHANNELS, padded_power_of_two(outputs)), "BK": padded_power_of_two(taps * pack)}
    tiles_n = triton.cdiv(outputs, options["BN"])
    others = (packed, weight.contiguous(), *or_placeholder(bias, otherwise=x), y)
    with device_of(x):
        _pack_kernel[(images * frames * tiles,)](
            x, packed, *x.stride(), frames, height, width, high, wide, tiles,
            BEFORE=taps // 2, C=channels, PACK=pack, BP=PIXELS,
        )  # fmt: skip
        if times > 1 or step > 1:
            tiles = triton.cdiv(rows * columns, WINDOWS["BM"])
            _windows_kernel[(images * shape[2] * tiles, tiles_n)](
                *others, frames, shape[2], high, wide, rows, columns, outputs, tiles, step,
                KT=times, **options, **WINDOWS,
            )  # fmt: skip
            return y
        tiles = triton.cdiv(shape[4], COLUMNS // 2 - 1 if pool else COLUMNS)
        per_strip = SHORT if images * frames <= FEW else STRIP
        strips = triton.cdiv(rows, 2 * per_strip)
        _rows_kernel[(images * frames * strips * tiles, tiles_n)](
            *others, high, wide, rows, columns, *shape[3:], outputs, tiles, strips, per_strip,
            POOL=pool, **options, BM=COLUMNS, **ROWS,
        )  # fmt: skip
    return y
