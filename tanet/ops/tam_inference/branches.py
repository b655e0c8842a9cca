"""The two branches of TAM in evaluation mode compute the kernel Θ and the hidden layer h from the squeeze s.

    h = ReLU(BN(W ∗ s)),  Θ = softmax(W3 ReLU(BN(W0 s))) [+ S]                                   (eq. 3, 4)

The time goes into waiting for memory, because there is little arithmetic. The kernels therefore keep many
loads in flight. For many clips, the hidden layer h is a matrix product that loads the next operands while it
multiplies the current operands. For few clips, many small programs compute one channel of h each.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, or_placeholder, padded_power_of_two
from tanet.ops.tam_inference.gate import ROWS, product

TILE = 8192  # number of elements that a program holds at a time
GROUP = 32  # channels whose kernels one program computes
PARTS = 16  # largest number of parts of s that is not added up in a separate launch


@triton.jit
def _load_squeezed(s_parts, parts, images, n, N, t, T, cs, C, BN: tl.constexpr):
    """Load s for clips n, frames t and channels cs, whose shapes are broadcast. Out of range, s is zero."""
    inside = (n < N) & (t >= 0) & (t < T) & (cs < C)
    if BN == 1:
        return tl.load(s_parts + (n * T + t) * C + cs, mask=inside, other=0.0)
    which = tl.arange(0, BN)[:, None, None]
    at = s_parts + (which * images + (n * T + t)[None, :, :]) * C + cs[None, :, :]
    return tl.sum(tl.load(at, mask=(which < parts) & inside[None, :, :], other=0.0), 0)


@triton.jit
def _norm_relu(rows, mean, var, weight, bias, at, valid, eps):
    """Apply a BatchNorm with running statistics to the columns of a matrix, and then a ReLU."""
    scale = tl.load(weight + at, mask=valid, other=0.0).to(tl.float32)
    scale = scale / tl.sqrt(tl.load(var + at, mask=valid, other=1.0).to(tl.float32) + eps)
    shift = tl.load(bias + at, mask=valid, other=0.0).to(tl.float32)
    shift -= tl.load(mean + at, mask=valid, other=0.0).to(tl.float32) * scale
    return activate(rows * scale[None, :] + shift[None, :], 1)


@triton.jit
def _load_tap(l0, l0_h, l0_c, hs, HIDDEN, cs, C):
    """Load the weights [BC, BH] of one tap of the convolution W."""
    inside = (cs[:, None] < C) & (hs[None, :] < HIDDEN)
    return tl.load(l0 + hs[None, :] * l0_h + cs[:, None] * l0_c, mask=inside, other=0.0)


@triton.jit
def _three_taps(
    s_parts, l0, l0_h, l0_c, l0_k, rs, n, t, hs, N, T, C, HIDDEN, parts, images,
    BN: tl.constexpr, BT: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute the convolution W ∗ s with three taps, by matrix products [BM, BC] @ [BC, BH].

    Each row is a frame. The rows are the frames of several clips, or a chunk of the frames of one clip. The
    first and the last row of a chunk belong to the neighbouring chunks: they are read but not output.
    """
    before = tl.zeros([BM, BH], tl.float32)
    now = tl.zeros([BM, BH], tl.float32)
    after = tl.zeros([BM, BH], tl.float32)
    cs = tl.arange(0, BC)
    rows = _load_squeezed(s_parts, parts, images, n[:, None], N, t[:, None], T, cs[None, :], C, BN)
    w0 = _load_tap(l0, l0_h, l0_c, hs, HIDDEN, cs, C)
    w1 = _load_tap(l0 + l0_k, l0_h, l0_c, hs, HIDDEN, cs, C)
    w2 = _load_tap(l0 + 2 * l0_k, l0_h, l0_c, hs, HIDDEN, cs, C)
    for _ in range(0, C, BC):
        these, v0, v1, v2 = rows, w0, w1, w2
        cs += BC  # load the next channels while the current channels are multiplied
        rows = _load_squeezed(s_parts, parts, images, n[:, None], N, t[:, None], T, cs[None, :], C, BN)
        w0 = _load_tap(l0, l0_h, l0_c, hs, HIDDEN, cs, C)
        w1 = _load_tap(l0 + l0_k, l0_h, l0_c, hs, HIDDEN, cs, C)
        w2 = _load_tap(l0 + 2 * l0_k, l0_h, l0_c, hs, HIDDEN, cs, C)
        before = product(these, v0, before)
        now = product(these, v1, now)
        after = product(these, v2, after)
    # Every tap has been applied to all frames. Now shift the results of the outer taps by one frame.
    # Use `gather` to shift: a product with a shift matrix would spread a NaN of one clip to other clips.
    previous = tl.broadcast_to(tl.maximum(rs - 1, 0)[:, None], [BM, BH])
    following = tl.broadcast_to(tl.minimum(rs + 1, BM - 1)[:, None], [BM, BH])
    now += tl.where(rs[:, None] % BT > 0, tl.gather(before, previous, 0), 0.0)
    return now + tl.where((rs[:, None] + 1) % BT > 0, tl.gather(after, following, 0), 0.0)


@triton.jit
def _any_taps(
    s_parts, l0, l0_h, l0_c, l0_k, hs, T, C, HIDDEN, parts, images,
    LK: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute W ∗ s [BT, BH] of one clip, with any number of taps, for a block of BH hidden channels."""
    ts = tl.arange(0, BT)
    products = tl.zeros([BT, BH, BC], tl.float32)
    for start in range(0, C, BC):
        cs = start + tl.arange(0, BC)
        for k in tl.static_range(LK):
            t = ts[:, None] + (k - LK // 2)
            rows = _load_squeezed(s_parts, parts, images, 0, 1, t, T, cs[None, :], C, BN)  # [BT, BC]
            inside = (hs[:, None] < HIDDEN) & (cs[None, :] < C)
            w = tl.load(l0 + hs[:, None] * l0_h + cs[None, :] * l0_c + k * l0_k, mask=inside, other=0.0)
            products += rows[:, None, :] * w.to(tl.float32)[None, :, :]
    return tl.sum(products, 2)


@triton.jit
def _hidden(
    s_parts, hidden, l0, l0_h, l0_c, l0_k, l_weight, l_bias, l_mean, l_var, l_eps,
    group, tile, N, T, C, HIDDEN, parts, images, chunks, per_chunk,
    LK: tl.constexpr, MATRICES: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BM: tl.constexpr,
    BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute a block of BH hidden channels for all frames of some clips, or some frames of a long clip."""
    rs = tl.arange(0, BM)
    # Number the clips from the first clip of this program, so that offsets fit into 32 bits.
    if BT > BM:
        first = group // chunks
        n, t = rs * 0, group % chunks * per_chunk + rs - 1
        mine = (rs > 0) & (rs <= per_chunk) & (t < T)
    else:
        first = group * (BM // BT)
        n, t = rs // BT, rs % BT
        mine = (n < N - first) & (t < T)
    s_parts += first.to(tl.int64) * T * C
    hidden += first.to(tl.int64) * T * HIDDEN
    hs = tile * BH + tl.arange(0, BH)
    if MATRICES:
        total = _three_taps(
            s_parts, l0, l0_h, l0_c, l0_k, rs, n, t, hs, N - first, T, C, HIDDEN, parts, images,
            BN, BT, BM, BH, BC,
        )  # fmt: skip
    else:
        total = _any_taps(s_parts, l0, l0_h, l0_c, l0_k, hs, T, C, HIDDEN, parts, images, LK, BN, BT, BH, BC)
    total = _norm_relu(total, l_mean, l_var, l_weight, l_bias, hs, hs < HIDDEN, l_eps)
    at = (n * T + t)[:, None] * HIDDEN + hs[None, :]
    tl.store(hidden + at, total, mask=mine[:, None] & (hs[None, :] < HIDDEN))


@triton.jit
def _aggregation(
    s_parts, kernel, static, g0, g_weight, g_bias, g_mean, g_var, g_eps, g3,
    n, tile, T, C, WIDTH, parts, images, STATIC: tl.constexpr,
    K: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BG: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Compute the temporal kernels Θ of one clip, for a block of BG channels."""
    s_parts += n.to(tl.int64) * T * C
    kernel += n.to(tl.int64) * K * C
    cs = tile * BG + tl.arange(0, BG)
    # The matrix product sums over frames. Pad clips to 16 frames, because `tl.dot` needs at least 16.
    BS: tl.constexpr = BT if BT > 16 else 16
    ss = tl.arange(0, BS)
    rows = _load_squeezed(s_parts, parts, images, 0, 1, ss[None, :], T, cs[:, None], C, BN)  # [BG, BS]
    thetas = ()
    for _ in tl.static_range(K):
        thetas += (tl.zeros([BG, BW], tl.float32),)
    for start in tl.range(0, WIDTH, BW, num_stages=1):
        ws = start + tl.arange(0, BW)
        inside = (ws[None, :] < WIDTH) & (ss[:, None] < T)
        w0 = tl.load(g0 + ws[None, :] * T + ss[:, None], mask=inside, other=0.0)
        wide = product(rows, w0, tl.zeros([BG, BW], tl.float32))
        wide = _norm_relu(wide, g_mean, g_var, g_weight, g_bias, ws, ws < WIDTH, g_eps)
        # Do not use `tl.dot` for the product with W3: `tl.dot` would pad K to 16, which would take longer.
        added = ()
        for k in tl.static_range(K):
            w3 = tl.load(g3 + k * WIDTH + ws, mask=ws < WIDTH, other=0.0).to(tl.float32)
            added += (thetas[k] + wide * w3[None, :],)
        thetas = added
    largest = tl.full([BG], float("-inf"), tl.float32)
    logits = ()
    for k in tl.static_range(K):
        logits += (tl.sum(thetas[k], 1),)
        largest = tl.maximum(largest, logits[k])
    total = tl.zeros([BG], tl.float32)
    for k in tl.static_range(K):
        total += tl.exp(logits[k] - largest)
    for k in tl.static_range(K):
        theta = tl.exp(logits[k] - largest) / total
        if STATIC:
            theta += tl.load(static + cs * K + k, mask=cs < C, other=0.0).to(tl.float32)
        tl.store(kernel + k * C + cs, theta, mask=cs < C)


@triton.jit
def _hidden_and_aggregation_kernel(
    s_parts, hidden, kernel, static,
    g0, g_weight, g_bias, g_mean, g_var, g_eps, g3, l0, l_weight, l_bias, l_mean, l_var, l_eps,
    l0_h, l0_c, l0_k, N, T, C, HIDDEN, WIDTH, parts, images, tiles_h, programs_h, chunks, per_chunk,
    STATIC: tl.constexpr,
    K: tl.constexpr, LK: tl.constexpr, MATRICES: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr,
    BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr, BG: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if pid < programs_h:
        _hidden(
            s_parts, hidden, l0, l0_h, l0_c, l0_k, l_weight, l_bias, l_mean, l_var, l_eps,
            pid // tiles_h, pid % tiles_h, N, T, C, HIDDEN, parts, images, chunks, per_chunk,
            LK, MATRICES, BN, BT, BM, BH, BC,
        )  # fmt: skip
    else:
        tiles_g = tl.cdiv(C, BG)
        _aggregation(
            s_parts, kernel, static, g0, g_weight, g_bias, g_mean, g_var, g_eps, g3,
            (pid - programs_h) // tiles_g, (pid - programs_h) % tiles_g, T, C, WIDTH, parts, images,
            STATIC, K, BN, BT, BG, BW,
        )  # fmt: skip


def hidden_and_kernel(
    s_parts: torch.Tensor,
    frames: int,
    static: torch.Tensor | None,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
    *,
    few: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the local branch's hidden layer [N, T, C/β] and the kernel [N, K, C] in float32, in one launch.

    If s has more than PARTS parts, a separate launch adds up the parts first.

    Args:
        s_parts: parts of the squeeze s, [parts, N·T, C]. s is the sum of the parts.
        frames: T.
        static: static kernel S [C, K], or None.
        g: weights of the global branch, as in `tam`.
        g_eps: eps of the global branch's BatchNorm.
        l: weights of the local branch, as in `tam`.
        l_eps: eps of the local branch's BatchNorm.
        few: whether there are only few clips, so that each clip is spread over many small programs.
    """
    g0, g3, l0 = g[0].contiguous(), g[5].contiguous(), l[0]
    norms = [weight.contiguous() for weight in (*g[1:5], *l[1:5])]
    if s_parts.shape[0] > PARTS:
        s_parts = s_parts.sum(0, keepdim=True)
    parts, images, channels = s_parts.shape
    clips, (width, taps, outputs) = images // frames, (g0.shape[0], g3.shape[0], l0.shape[0])
    new = {"device": s_parts.device, "dtype": torch.float32}
    hidden = torch.empty(clips, frames, outputs, **new)
    kernel = torch.empty(clips, taps, channels, **new)
    block_n, block_t = triton.next_power_of_2(parts), triton.next_power_of_2(frames)
    # Each program adds up the parts of s. If s has several parts, many small programs are therefore slow.
    matrices = l0.shape[2] == 3 and (parts > 1 or not few)
    chunks = triton.cdiv(frames, ROWS - 2) if matrices and frames > ROWS else 1
    if matrices:
        block_m, block_h = ROWS, 16 if parts > 1 else 32
        block_c = padded_power_of_two(channels, most=32 if parts > 1 else 64)
    else:
        block_m, block_h = block_t, 1 if few else 4
        block_c = padded_power_of_two(channels, most=max(16, TILE // (max(block_n, block_h) * block_t)))
    tiles_h = triton.cdiv(outputs, block_h)
    programs_h = tiles_h * (clips * chunks if chunks > 1 else triton.cdiv(clips, block_m // block_t))
    _hidden_and_aggregation_kernel[(programs_h + clips * triton.cdiv(channels, GROUP),)](
        s_parts, hidden, kernel, *or_placeholder(static, otherwise=s_parts),
        g0, *norms[:4], g_eps, g3, l0, *norms[4:], l_eps,
        *l0.stride(), clips, frames, channels, outputs, width, parts, images, tiles_h, programs_h,
        chunks, triton.cdiv(frames, chunks),
        STATIC=static is not None,
        K=taps, LK=l0.shape[2], MATRICES=matrices, BN=block_n, BT=block_t, BM=block_m, BH=block_h, BC=block_c,
        BG=GROUP, BW=padded_power_of_two(width, most=128),
        num_warps=8 if block_t > 16 else 4,  # a long clip needs the registers of 8 warps
    )  # fmt: skip
    return hidden, kernel
