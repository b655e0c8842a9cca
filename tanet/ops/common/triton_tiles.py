"""What the fused kernels share: tiles of BP places × BC channels of channels-last maps, what is taken in."""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl

from tanet.ops.common.filter_inputs import FilterInputs

ACTS: dict[str, int] = {"none": 0, "relu": 1, "relu6": 2}


@triton.jit
def load_frame(x, n, t, T, PC, offsets, inside):
    """Frame t of clip n in a tile [BP, BC], as it is; zeros outside the clip."""
    start = (n * T + t).to(tl.int64) * PC
    return tl.load(x + start + offsets, mask=inside & (t >= 0) & (t < T), other=0.0)


@triton.jit
def tile_offsets(first, last, cs, C, BP: tl.constexpr):
    """Where the values of the places first … are in a frame [BP, BC]; which of them there are."""
    ps = first + tl.arange(0, BP)
    return ps[:, None] * C + cs[None, :], (ps[:, None] < last) & (cs[None, :] < C)


@triton.jit
def program_tile(T, P, C, per_chunk, BP: tl.constexpr, BC: tl.constexpr):
    """Tell a program of `launch_grid` its clip, its range of frames, its channels and its tile."""
    # Clips in reverse: another kernel has read the same maps in order just before, and the last are still in
    # the cache.
    n = tl.num_programs(1) - 1 - tl.program_id(1)
    first = tl.program_id(2) * per_chunk
    last = tl.minimum(first + per_chunk, T)
    tiles_c = tl.cdiv(C, BC)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    offsets, inside = tile_offsets(tl.program_id(0) // tiles_c * BP, P, cs, C, BP)
    return n, first, last, cs, offsets, inside


@triton.jit
def zero_sums(BP: tl.constexpr, BC: tl.constexpr, K: tl.constexpr):
    """The K - 1 sums that `slide_sums` begins with."""
    sums = ()
    for _ in tl.static_range(K - 1):
        sums += (tl.zeros([BP, BC], tl.float32),)
    return sums


@triton.jit
def slide_sums(sums, weights, value, K: tl.constexpr):
    """Add a frame to the weighted sums of K frames in a row that it is part of.

    From the K - 1 begun before to K: the first is complete, the others go on to the next frame. Frames that a
    loop hands on as they are keep Triton from loading ahead, sums do not.
    """
    added = ()
    for i in tl.static_range(K - 1):
        added += (sums[i] + weights[K - 1 - i] * value,)
    return added + (weights[0] * value,)  # noqa: RUF005


@triton.jit
def load_per_channel(values, at, valid, otherwise: tl.constexpr, GIVEN: tl.constexpr):
    """One number a channel [1, BC], float32; `otherwise` where there is no such input."""
    if GIVEN:
        return tl.load(values + at, mask=valid, other=0.0).to(tl.float32)[None, :]
    return tl.where(valid, otherwise, 0.0)[None, :]


@triton.jit
def part_of_map(scale, shift, tiles, tiles_c, C, AFFINE: tl.constexpr, BC: tl.constexpr):
    """What a program sums: which image of how many, which part of its places, channels; their scale, shift.

    An image has `tiles` programs, on one axis with all others: a grid's second ends at 65,535, and there may
    be more images.
    """
    image, images = tl.program_id(0) // tiles, tl.num_programs(0) // tiles
    part = tl.program_id(0) % tiles // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    return image.to(tl.int64), images.to(tl.int64), part, cs, s, b


@triton.jit
def activate(pre, ACT: tl.constexpr):
    """What the activation makes of its input."""
    if ACT > 0:
        pre = tl.maximum(pre, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if ACT == 2:
        pre = tl.minimum(pre, 6.0, propagate_nan=tl.PropagateNan.ALL)
    return pre


@triton.jit
def activation_grad(pre, ACT: tl.constexpr):
    """The derivative of the activation, 0 or 1."""
    passed = tl.full(pre.shape, 1.0, tl.float32)
    if ACT == 1:
        passed = (pre > 0.0).to(tl.float32)
    if ACT == 2:
        passed = ((pre > 0.0) & (pre < 6.0)).to(tl.float32)
    return passed


def device_of(x: torch.Tensor) -> AbstractContextManager[object]:
    """Kernels start on the current GPU, so that has to be the one where x is."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def sizes(x: torch.Tensor, kernel: torch.Tensor) -> tuple[int, int, int, int, int]:
    """N, C, K, T and the number of places H·W."""
    clips, channels, taps = kernel.shape
    return clips, channels, taps, x.shape[0] // clips, x.shape[2] * x.shape[3]


def kernel_arguments(
    inputs: FilterInputs,
) -> tuple[tuple[torch.Tensor | int, ...], dict[str, int]]:
    """Return the arguments of every adaptive-convolution kernel, and the constants compiled in."""
    x, kernel, gate, scale, shift, act = inputs
    clips, channels, taps, frames, places = sizes(x, kernel)
    # A clip's numbers lie together, in whatever order: the kernels know the order by its strides.
    kernel = kernel if kernel.stride(0) == channels * taps else kernel.contiguous()
    if gate is not None and gate.stride(0) != channels * frames:
        gate = gate.contiguous()
    strides = (0, 0) if gate is None else gate.stride()[1:]
    numbers = (frames, places, channels, *kernel.stride()[1:], *strides)
    options = {"K": taps, "GATE": gate is not None, "AFFINE": scale is not None, "ACT": ACTS[act]}
    return (
        kernel,
        x if gate is None else gate,
        *or_placeholder(scale, shift, otherwise=x),
        *numbers,
    ), options


def or_placeholder(*tensors: torch.Tensor | None, otherwise: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A kernel must be handed some tensor in the place of one that is not there; it never reads it."""
    return tuple(otherwise if tensor is None else tensor.contiguous() for tensor in tensors)


def tile_shape(channels: int, *, elements: int, most: int) -> tuple[int, int]:
    """Places and channels of a tile of so many elements, of at most so many channels."""
    block_c = next((size for size in (128, 64, 32, 16) if size <= most and channels % size == 0), 32)
    return elements // block_c, block_c


def padded_power_of_two(size: int, *, most: int = 1 << 16) -> int:
    """The power of two that holds so many, at least what a product of matrices takes."""
    return min(most, max(16, triton.next_power_of_2(size)))


def tiles_per_program(tiles: int, *, of: int, resident: int, device: torch.device) -> int:
    """How many of the tiles of places a program takes, so that all programs end at about the same time.

    They run in rounds of as many as there is room for, and the last round should be full. Starting and ending
    take a program about as long as one tile.

    Args:
        tiles: of places.
        of: how many such rows of tiles there are.
        resident: programs that a multiprocessor has room for.
        device: where they run.
    """
    if device.type != "cuda":
        return min(tiles, 3)
    room = resident * _multiprocessors(device)

    def each(rounds: int) -> int:
        return -(-tiles // max(1, rounds * room // of))

    return each(min(range(1, 5), key=lambda rounds: rounds * (each(rounds) + 1)))


def launch_grid(x: torch.Tensor, kernel: torch.Tensor) -> tuple[tuple[int, int, int], int, dict[str, int]]:
    """The grid of programs that walk along frames of a tile, how many frames each, and how it is compiled."""
    clips, channels, taps, frames, places = sizes(x, kernel)
    block_p, block_c = tile_shape(channels, elements=2048, most=64)
    tiles = triton.cdiv(places, block_p) * triton.cdiv(channels, block_c)
    per_chunk = _frames_per_program(frames, beside=taps - 1, programs=tiles * clips, device=x.device)
    # STAGES: frames that are on their way at a time, the one worked on included.
    compiled = {"BP": block_p, "BC": block_c, "STAGES": 4, "num_warps": 4}
    return (tiles, clips, triton.cdiv(frames, per_chunk)), per_chunk, compiled


def _frames_per_program(frames: int, *, beside: int, programs: int, device: torch.device) -> int:
    """How many of a clip's frames a program takes, so that all programs end as early as they can.

    They run in rounds of as many as there is room for. Small chunks fill the last round, and read more frames
    twice.

    Args:
        frames: T.
        beside: frames that a program reads besides its own.
        programs: that there are if each takes all frames of its tile.
        device: where they run.
    """
    room = 4 * _multiprocessors(device)  # programs of four warps, which have a quarter of the registers each

    def time(per_chunk: int) -> int:
        return triton.cdiv(programs * triton.cdiv(frames, per_chunk), room) * (per_chunk + beside)

    chunks = range(1, max(1, frames // 8) + 1)  # shorter ones do not pay
    return min((triton.cdiv(frames, number) for number in chunks), key=time)


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
