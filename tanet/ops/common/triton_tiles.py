"""Code shared by the fused kernels: tiles (BP positions × BC channels) of channels-last maps, activations."""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl

from tanet.ops.common.filter_inputs import FilterInputs

ACTS: dict[str, int] = {"none": 0, "relu": 1, "relu6": 2}


@triton.jit
def load_frame(x, n, t, T, PC, offsets, inside):
    """Load frame t of clip n as a tile [BP, BC] in the dtype of x; zeros outside the clip."""
    start = (n * T + t).to(tl.int64) * PC
    return tl.load(x + start + offsets, mask=inside & (t >= 0) & (t < T), other=0.0)


@triton.jit
def tile_offsets(first, last, cs, C, BP: tl.constexpr):
    """Return the offsets [BP, BC] of positions `first`, … in a frame, and the mask of those before `last`."""
    ps = first + tl.arange(0, BP)
    return ps[:, None] * C + cs[None, :], (ps[:, None] < last) & (cs[None, :] < C)


@triton.jit
def program_tile(T, P, C, per_chunk, BP: tl.constexpr, BC: tl.constexpr):
    """Return the clip, the range of frames, the channels and the tile of a program in `launch_grid`."""
    # Take the clips in reverse: the previous kernel has read the same maps in order, so the last clips are
    # still in the cache.
    n = tl.num_programs(1) - 1 - tl.program_id(1)
    first = tl.program_id(2) * per_chunk
    last = tl.minimum(first + per_chunk, T)
    tiles_c = tl.cdiv(C, BC)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    offsets, inside = tile_offsets(tl.program_id(0) // tiles_c * BP, P, cs, C, BP)
    return n, first, last, cs, offsets, inside


@triton.jit
def zero_sums(BP: tl.constexpr, BC: tl.constexpr, K: tl.constexpr):
    """Return the K - 1 zero sums with which `slide_sums` starts."""
    sums = ()
    for _ in tl.static_range(K - 1):
        sums += (tl.zeros([BP, BC], tl.float32),)
    return sums


@triton.jit
def slide_sums(sums, weights, value, K: tl.constexpr):
    """Add a frame to the K weighted sums of consecutive frames in which the frame occurs.

    `sums` holds the K - 1 sums begun by earlier frames. The result holds K sums: the first is complete, the
    others continue with the next frame. Loops carry these sums rather than the loaded frames, because
    carrying frames unchanged to the next iteration keeps Triton from prefetching.
    """
    added = ()
    for i in tl.static_range(K - 1):
        added += (sums[i] + weights[K - 1 - i] * value,)
    return added + (weights[0] * value,)  # noqa: RUF005


@triton.jit
def load_per_channel(values, at, valid, otherwise: tl.constexpr, GIVEN: tl.constexpr):
    """Load one number per channel as float32 [1, BC]; return `otherwise` if the input is not GIVEN."""
    if GIVEN:
        return tl.load(values + at, mask=valid, other=0.0).to(tl.float32)[None, :]
    return tl.where(valid, otherwise, 0.0)[None, :]


@triton.jit
def part_of_map(scale, shift, tiles, tiles_c, C, AFFINE: tl.constexpr, BC: tl.constexpr):
    """Return this program's image, number of images, part of the positions, channels, scale and shift.

    Each image has `tiles` programs. All programs share the first axis of the grid, because the second axis is
    limited to 65,535 and there may be more images.
    """
    image, images = tl.program_id(0) // tiles, tl.num_programs(0) // tiles
    part = tl.program_id(0) % tiles // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    return image.to(tl.int64), images.to(tl.int64), part, cs, s, b


@triton.jit
def activate(pre, ACT: tl.constexpr):
    """Apply the activation."""
    if ACT > 0:
        pre = tl.maximum(pre, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if ACT == 2:
        pre = tl.minimum(pre, 6.0, propagate_nan=tl.PropagateNan.ALL)
    return pre


@triton.jit
def activation_grad(pre, ACT: tl.constexpr):
    """Return the derivative of the activation, 0 or 1."""
    passed = tl.full(pre.shape, 1.0, tl.float32)
    if ACT == 1:
        passed = (pre > 0.0).to(tl.float32)
    if ACT == 2:
        passed = ((pre > 0.0) & (pre < 6.0)).to(tl.float32)
    return passed


def device_of(x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context that makes the GPU of x current, because Triton launches on the current GPU."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def sizes(x: torch.Tensor, kernel: torch.Tensor) -> tuple[int, int, int, int, int]:
    """Return N, C, K, T and the number of positions H·W."""
    clips, channels, taps = kernel.shape
    return clips, channels, taps, x.shape[0] // clips, x.shape[2] * x.shape[3]


def kernel_arguments(
    inputs: FilterInputs,
) -> tuple[tuple[torch.Tensor | int, ...], dict[str, int]]:
    """Return the arguments common to all adaptive-convolution kernels, and their compile-time constants."""
    x, kernel, gate, scale, shift, act = inputs
    clips, channels, taps, frames, places = sizes(x, kernel)
    # The values of one clip must be contiguous as a block; the kernels get the strides within the block.
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
    """Replace each None by `otherwise`: a kernel needs a tensor even for an argument that it never reads."""
    return tuple(otherwise if tensor is None else tensor.contiguous() for tensor in tensors)


def tile_shape(channels: int, *, elements: int, most: int) -> tuple[int, int]:
    """Return the positions and channels of a tile with `elements` elements and at most `most` channels."""
    block_c = next((size for size in (128, 64, 32, 16) if size <= most and channels % size == 0), 32)
    return elements // block_c, block_c


def padded_power_of_two(size: int, *, most: int = 1 << 16) -> int:
    """Round up to a power of two in [16, most]; `tl.dot` needs at least 16."""
    return min(most, max(16, triton.next_power_of_2(size)))


def tiles_per_program(tiles: int, *, of: int, resident: int, device: torch.device) -> int:
    """Return how many tiles each program takes, so that all programs finish at about the same time.

    Programs run in rounds, each as large as the GPU has room for; the last round should be full. Starting and
    finishing a program takes about as long as one tile.

    Args:
        tiles: number of tiles that cover the positions of a map.
        of: number of such sets of tiles, one for each clip and block of channels.
        resident: number of programs that fit on a multiprocessor.
        device: device of the programs.
    """
    if device.type != "cuda":
        return min(tiles, 3)
    room = resident * _multiprocessors(device)

    def each(rounds: int) -> int:
        return -(-tiles // max(1, rounds * room // of))

    return each(min(range(1, 5), key=lambda rounds: rounds * (each(rounds) + 1)))


def launch_grid(x: torch.Tensor, kernel: torch.Tensor) -> tuple[tuple[int, int, int], int, dict[str, int]]:
    """Return the grid, the number of frames along which each program walks, and compile-time options."""
    clips, channels, taps, frames, places = sizes(x, kernel)
    block_p, block_c = tile_shape(channels, elements=2048, most=64)
    tiles = triton.cdiv(places, block_p) * triton.cdiv(channels, block_c)
    per_chunk = _frames_per_program(frames, beside=taps - 1, programs=tiles * clips, device=x.device)
    # STAGES is the pipeline depth: frames in flight, including the current one.
    compiled = {"BP": block_p, "BC": block_c, "STAGES": 4, "num_warps": 4}
    return (tiles, clips, triton.cdiv(frames, per_chunk)), per_chunk, compiled


def _frames_per_program(frames: int, *, beside: int, programs: int, device: torch.device) -> int:
    """Return how many frames of a clip each program takes, so that all programs finish as early as possible.

    Programs run in rounds, each as large as the GPU has room for. Short chunks fill the last round better,
    but more frames are read twice.

    Args:
        frames: T.
        beside: number of frames that a program reads in addition to its own.
        programs: number of programs if each takes all frames of its tile.
        device: device of the programs.
    """
    room = 4 * _multiprocessors(device)  # a program takes a quarter of a multiprocessor's registers

    def time(per_chunk: int) -> int:
        return triton.cdiv(programs * triton.cdiv(frames, per_chunk), room) * (per_chunk + beside)

    chunks = range(1, max(1, frames // 8) + 1)  # chunks of fewer than 8 frames do not pay
    return min((triton.cdiv(frames, number) for number in chunks), key=time)


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
