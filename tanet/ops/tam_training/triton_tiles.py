"""Tiles that the kernels for TAM's branches share: rows of s, statistics of BatchNorms, hidden layers."""

import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate


@triton.jit
def product(a, b, total, kind: tl.constexpr):
    """Return total + a @ b. `kind` is the data type of the factors: that of s, 16 bits under autocast."""
    if kind == tl.float32:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="tf32x3")
    return tl.dot(a.to(kind), b.to(kind), total)


@triton.jit
def shifted_rows(s, rs, step, R, T, cs, C):
    """Load the rows of s that are `step` frames after the rows rs. Outside the clip they are zero."""
    ts = rs % T + step
    inside = ((rs < R) & (ts >= 0) & (ts < T))[:, None] & (cs < C)[None, :]
    return tl.load(s + (rs + step).to(tl.int64)[:, None] * C + cs[None, :], mask=inside, other=0.0)


@triton.jit
def clip_rows(rows, n, T, cs, C, clip, BT: tl.constexpr):
    """Load T rows of clip n and the channels cs, [BT, BC]. `clip` is the distance of two clips in memory."""
    ts = tl.arange(0, BT)
    at = rows + tl.cast(n, tl.int64) * clip + ts[:, None] * C + cs[None, :]
    return tl.load(at, mask=(ts < T)[:, None] & (cs < C)[None, :], other=0.0)


@triton.jit
def block_moments(values, valid, count):
    """Return the mean, and the sum of the squared distances from it, over axis 0 where `valid`."""
    mean = tl.sum(tl.where(valid, values, 0.0), 0) / count
    away = tl.where(valid, values - mean[None, :], 0.0)
    return mean, tl.sum(away * away, 0)


@triton.jit
def store_moments(stats, part, at, size, count, mean, squares):
    """Store the number of values, their mean and squares of one part in `stats` [parts, 3, size]."""
    to = stats + part * 3 * size + at
    tl.store(to, at * 0.0 + count, mask=at < size)
    tl.store(to + size, mean, mask=at < size)
    tl.store(to + 2 * size, squares, mask=at < size)


@triton.jit
def merged_moments(stats, parts, at, size, BP: tl.constexpr):
    """Return the mean and the biased variance over all parts; see `store_moments`."""
    ps = tl.arange(0, BP)[:, None]
    inside = (ps < parts) & (at < size)[None, :]
    rows = stats + ps * 3 * size + at[None, :]
    count = tl.load(rows, mask=inside, other=0.0)
    means = tl.load(rows + size, mask=inside, other=0.0)
    squares = tl.load(rows + 2 * size, mask=inside, other=0.0)
    total = tl.maximum(tl.sum(count, 0), 1.0)
    mean = tl.sum(count * means, 0) / total
    away = means - mean[None, :]
    return mean, tl.sum(squares + count * away * away, 0) / total


@triton.jit
def summed(sums, parts, at, valid, part, BP: tl.constexpr):
    """Return the sum of `sums` [parts, …] over the parts, at the offsets `at`."""
    total = tl.zeros(at.shape, tl.float32)
    for start in range(0, parts, BP):
        ps = start + tl.arange(0, BP)[:, None]
        rows = tl.load(sums + ps * part + at[None, :], mask=(ps < parts) & valid[None, :], other=0.0)
        total += tl.sum(rows, 0)
    return total


@triton.jit
def load_weights(weight, bias, at, size):
    """Load the weights and biases of a BatchNorm as float32."""
    w = tl.load(weight + at, mask=at < size, other=0.0).to(tl.float32)
    return w, tl.load(bias + at, mask=at < size, other=0.0).to(tl.float32)


@triton.jit
def wide_rows(rows, g0, T, WIDTH, ws, kind: tl.constexpr, BT: tl.constexpr, BW: tl.constexpr):
    """Compute the first layer of the global branch, z = W1 s, [BW, BC], from rows of s, [BT, BC]."""
    ts = tl.arange(0, BT)
    inside = (ws < WIDTH)[:, None] & (ts < T)[None, :]
    w = tl.load(g0 + ws[:, None] * T + ts[None, :], mask=inside, other=0.0)
    return product(w, rows, tl.zeros([BW, rows.shape[1]], tl.float32), kind)


@triton.jit
def hidden_tile(u, rs, R, hs, HIDDEN, mean, rstd, weight, bias):
    """Load u, and return its normalised values and the hidden layer h, [BM, BH] each."""
    inside = (rs < R)[:, None] & (hs < HIDDEN)[None, :]
    values = tl.load(u + rs.to(tl.int64)[:, None] * HIDDEN + hs[None, :], mask=inside, other=0.0)
    normal = (values - mean[None, :]) * rstd[None, :]
    return normal, activate(normal * weight[None, :] + bias[None, :], 1)
