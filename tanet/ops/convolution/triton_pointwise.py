"""1×1 convolutions at the end of a residual block, with the sum, the bias and the ReLU in the same kernel.

    y = ReLU(W ∗ x + b + r)            r: residual
    y = ReLU(W ∗ x + W' ∗ z + b)       z: input of the shortcut's convolution, whose output is never written

Both are limited by memory, so the kernels keep loads in flight all the time. There are as many programs as
fit on the GPU, and each loads its next tile while it computes the current tile.

`_resident_kernel` is for few input channels. A program keeps the weights of its output channels, and each
step loads all input channels of a tile. `_products_kernel` is for many: the loop goes over blocks of input
channels, first those of x, then those of z.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.memory_format import channels_last
from tanet.ops.common.triton_tiles import (
    activate,
    device_of,
    multiprocessors,
    or_placeholder,
    padded_power_of_two,
)

SHARED = 227 * 1024  # bytes of shared memory of a multiprocessor (Hopper)
RESIDENT = 256  # largest number of input channels of `_resident_kernel`
PRODUCTS = {"BM": 128, "BN": 256, "BK": 64, "STAGES": 3, "num_warps": 8}


@triton.jit
def _position_in_z(ms, TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w):
    """Return the position in z that belongs to each position in y."""
    frame = ms // (HO * WO)
    frame = frame // TO * TZ + frame % TO * step_t
    return (frame.to(tl.int64) * HZ + ms // WO % HO * step_h) * WZ + ms % WO * step_w


@triton.jit
def _resident_kernel(
    x, weight, z, weight_z, bias, residual, y, M, OUT, tiles_m, tiles_n,
    TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w,
    X: tl.constexpr, Z: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BX: tl.constexpr, BZ: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute BN channels of some tiles of BM positions. Without z, Z is 0."""
    outs, xs, zs = tl.program_id(0) % tiles_n * BN + tl.arange(0, BN), tl.arange(0, BX), tl.arange(0, BZ)
    there = (outs < OUT)[None, :]
    w = tl.load(weight + outs[None, :] * X + xs[:, None], mask=there & (xs < X)[:, None], other=0.0)
    if Z:
        w_z = tl.load(weight_z + outs[None, :] * Z + zs[:, None], mask=there & (zs < Z)[:, None], other=0.0)
    b = tl.zeros([1, BN], tl.float32)
    if BIAS:
        b += tl.load(bias + outs, mask=outs < OUT, other=0.0).to(tl.float32)[None, :]
    step = tl.num_programs(0) // tiles_n
    for tile in tl.range(tl.program_id(0) // tiles_n, tiles_m, step, num_stages=STAGES):
        ms = tile * BM + tl.arange(0, BM)
        rows = (ms < M)[:, None]
        at = ms.to(tl.int64)[:, None] * X + xs[None, :]
        total = tl.dot(tl.load(x + at, mask=rows & (xs < X)[None, :], other=0.0), w)
        if Z:
            at = _position_in_z(ms, TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w)[:, None] * Z + zs[None, :]
            total = tl.dot(tl.load(z + at, mask=rows & (zs < Z)[None, :], other=0.0), w_z, total)
        total += b
        to = ms.to(tl.int64)[:, None] * OUT + outs[None, :]
        if RESIDUAL:
            total += tl.load(residual + to, mask=rows & there, other=0.0).to(tl.float32)
        tl.store(y + to, activate(total, 1).to(y.dtype.element_ty), mask=rows & there)


@triton.jit
def _products_kernel(
    x, weight, z, weight_z, bias, y, M, X, Z, OUT, tiles, tiles_n,
    TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w,
    BIAS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute some tiles of BM positions and BN channels of the output."""
    ks = tl.arange(0, BK)
    steps_x = tl.cdiv(X, BK)
    # Flattened, the two loops are one, which loads the first block of the next tile in time.
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=True):
        ms, outs = tile // tiles_n * BM + tl.arange(0, BM), tile % tiles_n * BN + tl.arange(0, BN)
        rows, there = (ms < M)[:, None], (outs < OUT)[None, :]
        at_z = _position_in_z(ms, TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w)
        from_x, from_z = x + ms.to(tl.int64)[:, None] * X, z + at_z[:, None] * Z
        total = tl.zeros([BM, BN], tl.float32)
        for i in tl.range(0, steps_x + tl.cdiv(Z, BK), num_stages=STAGES):
            first = i < steps_x
            channels = tl.where(first, X, Z)
            now = tl.where(first, i, i - steps_x) * BK + ks
            values = tl.where(first, from_x, from_z) + now[None, :]
            values = tl.load(values, mask=rows & (now < channels)[None, :], other=0.0)
            w = tl.where(first, weight, weight_z) + outs[None, :] * channels + now[:, None]
            w = tl.load(w, mask=(now < channels)[:, None] & there, other=0.0)
            total = tl.dot(values, w, total)
        if BIAS:
            total += tl.load(bias + outs, mask=outs < OUT, other=0.0).to(tl.float32)[None, :]
        to = ms.to(tl.int64)[:, None] * OUT + outs[None, :]
        tl.store(y + to, activate(total, 1).to(y.dtype.element_ty), mask=rows & there)


def fits_resident(x: torch.Tensor, z: torch.Tensor | None) -> bool:
    """Return whether `pointwise_triton` can keep the weights for these inputs."""
    return sum(padded_power_of_two(maps.shape[1]) for maps in (x, z) if maps is not None) <= RESIDENT


def pointwise_triton(
    x: torch.Tensor,
    weight: torch.Tensor,
    z: torch.Tensor | None,
    weight_z: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    stride: list[int],
    *,
    resident: bool,
) -> torch.Tensor:
    """Compute ReLU(W ∗ x [+ W' ∗ z] [+ b] [+ r]) for 1×1 convolutions on a GPU.

    Args:
        x, weight, z, weight_z, bias: as in `conv_pair_relu`. z and weight_z are None if there is no z.
        residual: r, in the shape of the output, or None.
        stride: stride of the convolution of z.
        resident: whether to keep the weights; see `fits_resident`. Without z, this must be True.
    """
    assert resident or (z is not None and residual is None)
    layout, outputs = channels_last(x), weight.shape[0]
    given = [x] + [maps for maps in (z, residual) if maps is not None]
    x, *others = (maps.contiguous(memory_format=layout) for maps in given)
    residual = others.pop() if residual is not None else None
    z = others.pop() if z is not None else None
    y = torch.empty((x.shape[0], outputs, *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=layout)
    sizes = [x.shape[2:], x.shape[2:] if z is None else z.shape[2:], stride]
    sizes = [(1, *each) if x.ndim == 4 else tuple(each) for each in sizes]
    where = [number for each in sizes for number in each]
    weights = [w.flatten(1) for w in (weight, weight if weight_z is None else weight_z)]
    maps = (x, weights[0].contiguous(), x if z is None else z, weights[1].contiguous())
    maps += or_placeholder(bias, otherwise=x)
    inputs, inputs_z, places = x.shape[1], 0 if z is None else z.shape[1], x.numel() // x.shape[1]
    with device_of(x):
        if not resident:
            tiles_n = triton.cdiv(outputs, PRODUCTS["BN"])
            tiles = triton.cdiv(places, PRODUCTS["BM"]) * tiles_n
            _products_kernel[(min(tiles, multiprocessors(x.device)),)](
                *maps, y, places, inputs, inputs_z, outputs, tiles, tiles_n, *where,
                BIAS=bias is not None, **PRODUCTS,
            )  # fmt: skip
            return y
        wide = [padded_power_of_two(inputs), 16 if z is None else padded_power_of_two(inputs_z)]
        kept = wide[0] + (0 if z is None else wide[1])  # input channels in shared memory
        block = {"BM": 128, "BN": 128, "STAGES": 4 if residual is None else 3, "num_warps": 8}
        if kept > 128:
            block = {"BM": 64, "BN": 128, "STAGES": 3, "num_warps": 4}
        step = block["BM"] * (kept + (0 if residual is None else block["BN"]))  # numbers that one step loads
        shared = 2 * (kept * block["BN"] + block["STAGES"] * step)
        tiles_m, tiles_n = triton.cdiv(places, block["BM"]), triton.cdiv(outputs, block["BN"])
        each = max(1, multiprocessors(x.device) * max(1, SHARED // shared) // tiles_n)
        _resident_kernel[(min(tiles_m, each) * tiles_n,)](
            *maps, y if residual is None else residual, y, places, outputs, tiles_m, tiles_n, *where,
            X=inputs, Z=inputs_z, BIAS=bias is not None, RESIDUAL=residual is not None,
            BX=wide[0], BZ=wide[1], **block,
        )  # fmt: skip
    return y
