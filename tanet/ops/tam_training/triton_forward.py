"""Forward pass of TAM's branches in training: gate and kernel from the squeeze s, in two launches.

    u = W ∗ s,    V = σ(W' ReLU(BN(u)))               local branch    (eq. 3)
    z = W1 s,     Θ = softmax(W2 ReLU(BN(z)))   global branch   (eq. 4)

The first launch computes u, and the moments of parts of u and z. The second merges the moments and computes
the rest. z is recomputed rather than stored, because it is larger than s.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, device_of, padded_power_of_two
from tanet.ops.tam_training.triton_tiles import (
    block_moments,
    clip_rows,
    hidden_tile,
    load_weights,
    merged_moments,
    product,
    shifted_rows,
    store_moments,
    wide_rows,
)

# Frames, hidden channels and channels per program. With 64 frames and 32 hidden channels, the two launches
# take 78 instead of 19 µs on an H200 (32 clips of 8 frames, 512 channels).
ROWS, HIDDEN_BLOCK, CHANNELS = 32, 16, 64
PARTS = 64  # about the number of parts of the global branch's sums; more if C / CHANNELS is larger
LAUNCH = {"num_warps": 4, "num_stages": 3}


@triton.jit
def _local_moments(
    s, l0, u, stats, block, tile, R, T, C, HIDDEN,
    LK: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute a tile of u and its moments."""
    rs, hs = block * BM + tl.arange(0, BM), tile * BH + tl.arange(0, BH)
    total = tl.zeros([BM, BH], tl.float32)
    for start in range(0, C, BC):
        cs = start + tl.arange(0, BC)
        inside = (cs < C)[:, None] & (hs < HIDDEN)[None, :]
        for k in tl.static_range(LK):
            rows = shifted_rows(s, rs, k - LK // 2, R, T, cs, C)
            w = tl.load(l0 + hs[None, :] * C * LK + cs[:, None] * LK + k, mask=inside, other=0.0)
            total = product(rows, w, total, s.dtype.element_ty)
    at = u + rs.to(tl.int64)[:, None] * HIDDEN + hs[None, :]
    tl.store(at, total, mask=(rs < R)[:, None] & (hs < HIDDEN)[None, :])
    count = tl.minimum(R - block * BM, BM).to(tl.float32)
    mean, squares = block_moments(total, (rs < R)[:, None], count)
    store_moments(stats, block, hs, HIDDEN, count, mean, squares)


@triton.jit
def _global_moments(
    s, g0, stats, part, N, T, C, WIDTH, tiles_c, per_part,
    BT: tl.constexpr, BC: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Compute the moments of z for some clips and a block of channels."""
    cs, ws = part % tiles_c * BC + tl.arange(0, BC), tl.arange(0, BW)
    first = part // tiles_c * per_part
    size = tl.minimum(C - part % tiles_c * BC, BC).to(tl.float32)
    count, mean, squares = 0.0, tl.zeros([BW], tl.float32), tl.zeros([BW], tl.float32)
    for n in range(first, tl.minimum(first + per_part, N)):
        rows = clip_rows(s, n, T, cs, C, T * C, BT)
        z = wide_rows(rows, g0, T, WIDTH, ws, s.dtype.element_ty, BT, BW)
        new, new_squares = block_moments(tl.trans(z), (cs < C)[:, None], size)
        away = new - mean
        mean += away * size / (count + size)
        squares += new_squares + away * away * count * size / (count + size)
        count += size
    store_moments(stats, part, ws, WIDTH, count, mean, squares)


@triton.jit
def _moments_kernel(
    s, l0, u, l_stats, g0, g_stats, N, T, C, HIDDEN, WIDTH, tiles_h, programs_h, tiles_c, per_part,
    LK: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr, BT: tl.constexpr,
    BW: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if pid < programs_h:
        _local_moments(s, l0, u, l_stats, pid // tiles_h, pid % tiles_h, N * T, T, C, HIDDEN, LK, BM, BH, BC)
    else:
        _global_moments(s, g0, g_stats, pid - programs_h, N, T, C, WIDTH, tiles_c, per_part, BT, BC, BW)


@triton.jit
def _gate(
    u, stats, weight, bias, l3, gate, means, variances, block, tile, R, C, HIDDEN, parts, eps,
    kind: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Compute a tile of the gate."""
    rs, cs = block * BM + tl.arange(0, BM), tile * BC + tl.arange(0, BC)
    logits = tl.zeros([BM, BC], tl.float32)
    for start in range(0, HIDDEN, BH):
        hs = start + tl.arange(0, BH)
        mean, var = merged_moments(stats, parts, hs, HIDDEN, BP)
        w, b = load_weights(weight, bias, hs, HIDDEN)
        _normal, h = hidden_tile(u, rs, R, hs, HIDDEN, mean, 1.0 / tl.sqrt(var + eps), w, b)
        inside = (hs < HIDDEN)[:, None] & (cs < C)[None, :]
        w3 = tl.load(l3 + cs[None, :] * HIDDEN + hs[:, None], mask=inside, other=0.0)
        logits = product(h, w3, logits, kind)
        if (block == 0) & (tile == 0):
            tl.store(means + hs, mean, mask=hs < HIDDEN)
            tl.store(variances + hs, var, mask=hs < HIDDEN)
    at = gate + rs.to(tl.int64)[:, None] * C + cs[None, :]
    tl.store(at, 1.0 / (1.0 + tl.exp(-logits)), mask=(rs < R)[:, None] & (cs < C)[None, :])


@triton.jit
def _kernel(
    s, g0, stats, weight, bias, g3, kernel, means, variances, n, tile, T, C, WIDTH, parts, eps,
    K: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr, BW: tl.constexpr,
    BP: tl.constexpr,
):  # fmt: skip
    """Compute the kernels of one clip, for a block of channels."""
    cs, ws = tile * BC + tl.arange(0, BC), tl.arange(0, BW)
    rows = clip_rows(s, n, T, cs, C, T * C, BT)
    z = wide_rows(rows, g0, T, WIDTH, ws, s.dtype.element_ty, BT, BW)
    mean, var = merged_moments(stats, parts, ws, WIDTH, BP)
    w, b = load_weights(weight, bias, ws, WIDTH)
    scale = w / tl.sqrt(var + eps)
    wide = activate((z - mean[:, None]) * scale[:, None] + b[:, None], 1)
    largest = tl.full([BC], float("-inf"), tl.float32)
    logits = ()
    for k in tl.static_range(K):
        w3 = tl.load(g3 + k * WIDTH + ws, mask=ws < WIDTH, other=0.0).to(tl.float32)
        logit = tl.sum(wide * w3[:, None], 0)
        logits += (logit,)
        largest = tl.maximum(largest, logit)
    total = tl.zeros([BC], tl.float32)
    for k in tl.static_range(K):
        total += tl.exp(logits[k] - largest)
    at = kernel + tl.cast(n, tl.int64) * K * C + cs
    for k in tl.static_range(K):
        tl.store(at + k * C, tl.exp(logits[k] - largest) / total, mask=cs < C)
    if (n == 0) & (tile == 0):
        tl.store(means + ws, mean, mask=ws < WIDTH)
        tl.store(variances + ws, var, mask=ws < WIDTH)


@triton.jit
def _outputs_kernel(
    s, u, l_stats, l_weight, l_bias, l3, gate, l_mean, l_var, g0, g_stats, g_weight, g_bias, g3, kernel,
    g_mean, g_var, N, T, C, HIDDEN, WIDTH, l_parts, g_parts, tiles_c, programs_v, l_eps, g_eps,
    K: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
    BT: tl.constexpr, BW: tl.constexpr, BL: tl.constexpr, BG: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if pid < programs_v:
        _gate(
            u, l_stats, l_weight, l_bias, l3, gate, l_mean, l_var, pid // tiles_c, pid % tiles_c,
            N * T, C, HIDDEN, l_parts, l_eps, s.dtype.element_ty, BM, BH, BC, BL,
        )  # fmt: skip
    else:
        pid -= programs_v
        _kernel(
            s, g0, g_stats, g_weight, g_bias, g3, kernel, g_mean, g_var, pid // tiles_c, pid % tiles_c,
            T, C, WIDTH, g_parts, g_eps, K, BT, BC, BW, BG,
        )  # fmt: skip


def parts_of_clips(clips: int, tiles_c: int) -> tuple[int, int]:
    """Return the number of clips per part of the global branch, and the number of parts."""
    per_part = triton.cdiv(clips * tiles_c, PARTS)
    return per_part, triton.cdiv(clips, per_part) * tiles_c


def blocks(channels: int, hidden: int, width: int, frames: int) -> dict[str, int]:
    """Return the sizes of the tiles that all kernels use."""
    return {
        "BM": ROWS,
        "BH": padded_power_of_two(hidden, most=HIDDEN_BLOCK),
        "BC": padded_power_of_two(channels, most=CHANNELS),
        "BT": padded_power_of_two(frames),
        "BW": padded_power_of_two(width),
    }


@torch.library.custom_op("tanet::branches", mutates_args=())
def branches_triton(
    s: torch.Tensor,
    frames: int,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute gate and kernel of TAM on a GPU, without gradients.

    Args:
        s: squeeze [N·T, C]. Its data type is that of the matrix products' factors, except in the last layer
            of the global branch.
        frames: T.
        g: weights of the global branch: first layer [αT, T]; weight and bias of the BatchNorm; last layer
            [K, αT].
        g_eps: eps of the global branch's BatchNorm.
        l: weights of the local branch: first layer [C/β, C, taps]; BatchNorm as for `g`; last layer
            [C, C/β, 1].
        l_eps: eps of the local branch's BatchNorm.

    Returns:
        All in float32: the gate [N, T, C] and the kernel [N, K, C]; the output of the local branch's first
        layer [N·T, C/β]; mean and biased variance of the global branch [αT] and of the local one [C/β].
    """
    s, (g, l) = s.contiguous(), ([weight.contiguous() for weight in branch] for branch in (g, l))  # noqa: E741
    (images, channels), (hidden, _, local_taps) = s.shape, l[0].shape
    width, taps = g[0].shape[0], g[3].shape[0]
    clips, block = images // frames, blocks(channels, hidden, width, frames)
    tiles_c, tiles_h = triton.cdiv(channels, block["BC"]), triton.cdiv(hidden, block["BH"])
    rows = triton.cdiv(images, block["BM"])
    per_part, parts = parts_of_clips(clips, tiles_c)

    def new(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=torch.float32, device=s.device)

    u, l_stats, g_stats = new(images, hidden), new(rows, 3, hidden), new(parts, 3, width)
    gate, kernel = new(clips, frames, channels), new(clips, taps, channels)
    g_mean, g_var, l_mean, l_var = new(width), new(width), new(hidden), new(hidden)
    sizes = (clips, frames, channels, hidden, width)
    with device_of(s):
        _moments_kernel[(rows * tiles_h + parts,)](
            s, l[0], u, l_stats, g[0], g_stats, *sizes, tiles_h, rows * tiles_h, tiles_c, per_part,
            LK=local_taps, **block, **LAUNCH,
        )  # fmt: skip
        _outputs_kernel[(rows * tiles_c + clips * tiles_c,)](
            s, u, l_stats, *l[1:], gate, l_mean, l_var, g[0], g_stats, *g[1:],
            kernel, g_mean, g_var,
            *sizes, rows, parts, tiles_c, rows * tiles_c, l_eps, g_eps,
            K=taps, **block,
            BL=triton.next_power_of_2(rows), BG=triton.next_power_of_2(parts), **LAUNCH,
        )  # fmt: skip
    return gate, kernel, u, g_mean, g_var, l_mean, l_var


@branches_triton.register_fake
def _(s, frames, g, g_eps, l, l_eps):  # noqa: E741
    images, channels = s.shape
    clips, width, hidden = images // frames, g[0].shape[0], l[0].shape[0]
    shapes = [(clips, frames, channels), (clips, g[3].shape[0], channels), (images, hidden)]
    shapes += [(width,), (width,), (hidden,), (hidden,)]
    return tuple(torch.empty(shape, dtype=torch.float32, device=s.device) for shape in shapes)
