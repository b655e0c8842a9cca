"""Helpers of the fused Triton kernels.

A tile is a block of BP positions × BC channels of channels-last maps.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl

from tanet.ops.common.filter_inputs import FilterInputs

ACTS: dict[str, int] = {"none": 0, "relu": 1, "relu6": 2}


@triton.jit
def load_frame(x, n, t, T, PC, offsets, inside):
    """Load a tile [BP, BC] of frame t of clip n, in the dtype of x. Load zeros if t is outside the clip."""
    start = (n * T + t).to(tl.int64) * PC
    return tl.load(x + start + offsets, mask=inside & (t >= 0) & (t < T), other=0.0)


@triton.jit
def tile_offsets(first, last, cs, C, BP: tl.constexpr):
    """Return the memory offsets of a tile in its frame, and the mask of the tile, [BP, BC] each.

    The tile starts at position `first`. The mask is True for positions before `last` and channels below C.
    """
    ps = first + tl.arange(0, BP)
    return ps[:, None] * C + cs[None, :], (ps[:, None] < last) & (cs[None, :] < C)


@triton.jit
def program_tile(T, P, C, per_chunk, BP: tl.constexpr, BC: tl.constexpr):
    """Return which part of the maps this program of a `launch_grid` processes.

    The results are the clip, the first frame, the end of the frames, the channels, and the offsets and mask
    of the tile.
    """
    # Start with the last clips, which are still in the cache because the previous kernel has just read them.
    n = tl.num_programs(1) - 1 - tl.program_id(1)
    first = tl.program_id(2) * per_chunk
    last = tl.minimum(first + per_chunk, T)
    tiles_c = tl.cdiv(C, BC)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    offsets, inside = tile_offsets(tl.program_id(0) // tiles_c * BP, P, cs, C, BP)
    return n, first, last, cs, offsets, inside


@triton.jit
def zero_sums(BP: tl.constexpr, BC: tl.constexpr, K: tl.constexpr):
    """Return K - 1 sums of zero, the initial value of `sums` in `slide_sums`."""
    sums = ()
    for _ in tl.static_range(K - 1):
        sums += (tl.zeros([BP, BC], tl.float32),)
    return sums


@triton.jit
def slide_sums(sums, weights, value, K: tl.constexpr):
    """Add an input frame, times its weights, to the K output frames that depend on this input frame.

    `sums` holds the K - 1 output frames to which earlier input frames were added. The result holds K output
    frames: the first is complete, and the other K - 1 are the `sums` for the next input frame.

    A loop over frames carries these sums from step to step, rather than the input frames. Triton would not
    prefetch input frames that the loop carries unchanged to the next step.
    """
    added = ()
    for i in tl.static_range(K - 1):
        added += (sums[i] + weights[K - 1 - i] * value,)
    return added + (weights[0] * value,)  # noqa: RUF005


@triton.jit
def load_per_channel(values, at, valid, otherwise: tl.constexpr, GIVEN: tl.constexpr):
    """Load one number per channel as float32 [1, BC]. If GIVEN is False, return `otherwise` instead."""
    if GIVEN:
        return tl.load(values + at, mask=valid, other=0.0).to(tl.float32)[None, :]
    return tl.where(valid, otherwise, 0.0)[None, :]


@triton.jit
def part_of_map(scale, shift, tiles, tiles_c, C, AFFINE: tl.constexpr, BC: tl.constexpr):
    """Return the image, number of images, part of the image, channels, scale and shift of this program.

    Each image has `tiles` programs, one for each combination of a part of the positions and a block of
    channels. All programs lie on the first axis of the launch grid. The second axis is limited to 65,535, and
    there may be more images.
    """
    image, images = tl.program_id(0) // tiles, tl.num_programs(0) // tiles
    part = tl.program_id(0) % tiles // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    return image.to(tl.int64), images.to(tl.int64), part, cs, s, b


@triton.jit
def activate(pre, ACT: tl.constexpr):
    """Apply an activation to `pre`. ACT is 0 for none, 1 for ReLU and 2 for ReLU6."""
    if ACT > 0:
        pre = tl.maximum(pre, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if ACT == 2:
        pre = tl.minimum(pre, 6.0, propagate_nan=tl.PropagateNan.ALL)
    return pre


@triton.jit
def activation_grad(pre, ACT: tl.constexpr):
    """Return the derivative of the activation at `pre`, which is 0 or 1."""
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
    """Return the numbers of clips, channels, taps, frames per clip, and positions per map (H·W)."""
    clips, channels, taps = kernel.shape
    return clips, channels, taps, x.shape[0] // clips, x.shape[2] * x.shape[3]


def kernel_arguments(
    inputs: FilterInputs,
) -> tuple[tuple[torch.Tensor | int, ...], dict[str, int]]:
    """Return the arguments and the compile-time constants that all adaptive-convolution kernels share."""
    x, kernel, gate, scale, shift, act = inputs
    clips, channels, taps, frames, places = sizes(x, kernel)
    # Kernels get the strides within a clip, and assume that there are no gaps between clips in memory.
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
    """Make tensors contiguous and replace None by `otherwise`.

    A kernel needs a tensor even for an argument that the kernel never reads.
    """
    return tuple(otherwise if tensor is None else tensor.contiguous() for tensor in tensors)


def tile_shape(channels: int, *, elements: int, most: int) -> tuple[int, int]:
    """Return the number of positions and the number of channels of a tile with `elements` elements.

    The tile has at most `most` channels.
    """
    block_c = next((size for size in (128, 64, 32, 16) if size <= most and channels % size == 0), 32)
    return elements // block_c, block_c


def padded_power_of_two(size: int, *, most: int = 1 << 16) -> int:
    """Round `size` up to a power of two from 16 to `most`. `tl.dot` needs a size of at least 16."""
    return min(most, max(16, triton.next_power_of_2(size)))


def tiles_per_program(tiles: int, *, of: int, resident: int, device: torch.device) -> int:
    """Return how many tiles each program should process, so that all programs finish at about the same time.

    The GPU has room for a limited number of programs, so the programs run in rounds. The last round should be
    full. Starting and finishing a program is assumed to take as long as processing one tile.

    Args:
        tiles: number of tiles that cover the positions of a map.
        of: number of combinations of a clip and a block of channels. Each combination has `tiles` tiles.
        resident: number of programs that run on a multiprocessor at the same time.
        device: device on which the programs run.
    """
    if device.type != "cuda":
        return min(tiles, 3)
    room = resident * multiprocessors(device)

    def each(rounds: int) -> int:
        return -(-tiles // max(1, rounds * room // of))

    return each(min(range(1, 5), key=lambda rounds: rounds * (each(rounds) + 1)))


def launch_grid(x: torch.Tensor, kernel: torch.Tensor) -> tuple[tuple[int, int, int], int, dict[str, int]]:
    """Return the launch grid, the number of frames per program, and the compile-time options of a kernel."""
    clips, channels, taps, frames, places = sizes(x, kernel)
    block_p, block_c = tile_shape(channels, elements=2048, most=64)
    tiles = triton.cdiv(places, block_p) * triton.cdiv(channels, block_c)
    per_chunk = _frames_per_program(frames, beside=taps - 1, programs=tiles * clips, device=x.device)
    # STAGES is the depth of the load pipeline, in frames, including the current frame.
    compiled = {"BP": block_p, "BC": block_c, "STAGES": 4, "num_warps": 4}
    return (tiles, clips, triton.cdiv(frames, per_chunk)), per_chunk, compiled


def _frames_per_program(frames: int, *, beside: int, programs: int, device: torch.device) -> int:
    """Return how many frames of a clip each program should process, so that all programs finish early.

    The GPU has room for a limited number of programs, so the programs run in rounds. With fewer frames per
    program there are more programs, which fill the last round better. However, more frames are read twice.

    Args:
        frames: T.
        beside: number of frames that a program reads in addition to those that the program processes.
        programs: number of programs if each program processes all frames of a clip.
        device: device on which the programs run.
    """
    room = 4 * multiprocessors(device)  # a multiprocessor has registers for four programs

    def time(per_chunk: int) -> int:
        return triton.cdiv(programs * triton.cdiv(frames, per_chunk), room) * (per_chunk + beside)

    chunks = range(1, max(1, frames // 8) + 1)  # chunks of fewer than 8 frames would be slower
    return min((triton.cdiv(frames, number) for number in chunks), key=time)


def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU, or 1 for another device."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
