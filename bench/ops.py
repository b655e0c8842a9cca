"""Compare TAM's and TSM's operations with the bandwidth of the GPU.

    python -m bench ops

In this table, traffic is the memory that an operation reads and writes, in multiples of the size of its input
x. The branches are TAM's local and global branch.

operation     timed work                                                            traffic
filter        `adaptive_conv` with a gate: read x, write y                          2
op            squeeze and filter: read x twice, write y                             3
op backward   read dy and x for the sums; read dy again, write dx                   4
TAM           a whole TAM in evaluation: op and the branches                        3
TAM forward   forward pass of a compiled TAM in training, with its branches         3
TAM backward  backward pass of the same                                             4
shift         TSM's shift: read x, write y                                          2

TAM's branches in training are four kernels (ops/tam_training). The suffix "branches as modules" means that
they are compiled PyTorch modules instead.

x has 32 clips of 8 frames, in bfloat16 and channels-last. For the shift, x is the input of a block, which has
4 times the channels of the x that the other operations read. The bandwidth is measured in the same run, by
copying a large tensor. Each operation is captured as a CUDA graph over more maps than the GPU's cache holds.
The time of TAM's backward pass is the difference of two captured runs: the forward and backward pass, minus
the forward pass alone. The benchmark exits unless the tests of the kernels pass on this machine.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from unittest.mock import patch

import torch
from torch import nn

from bench.common import capture, interleaved_on_gpu, percentiles, require_tests
from tanet import TAM
from tanet.models.temporal import tam as tam_module
from tanet.ops import adaptive_conv, backend_for, shift

MAPS = ((64, 56), (128, 28), (256, 14), (512, 7))  # C, side
FRAMES = 8
# Bytes of the tensor that is copied to measure the bandwidth. A copy reads and writes this many bytes.
COPIED = 1 << 30
# TSM shifts the input of a ResNet-50 block. This input has 4 times the channels of the maps that TAM filters.
WIDER = 4
# Bytes of maps that are used in turn: four times the cache of an H100, so that no map stays in the cache.
RING = 200e6
TESTS = tuple(
    f"ops/test_{name}_triton.py"
    for name in ("adaptive_convolution", "convolutions", "tam_inference", "tam_training", "temporal_shift")
)
BRANCHES = {"": True, ", branches as modules": False}
"""Suffix of an operation's name → whether TAM's branches in training are fused."""
Run = Callable[[], object]


PACKAGES = ("torch", "triton")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=50)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    if not torch.cuda.is_available():
        raise SystemExit("bench ops needs a GPU, but PyTorch finds none on this machine")
    require_tests(*TESTS)
    for channels, side in MAPS:
        yield from measure(channels, side, clips=flags.clips, repeats=flags.repeats)
        torch.cuda.empty_cache()


def measure(channels: int, side: int, *, clips: int, repeats: int) -> list[dict[str, object]]:
    """Time all operations on feature maps of one size, and return one row per operation."""
    # Warm up on the stream of the capture: autograd runs a backward pass on the stream of its forward pass.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        made, sets = operations(channels, side, clips=clips)
        runs: dict[str, Run] = {name: capture(run, stream=stream) for name, run in made.items()}
    source, target = (torch.empty(COPIED, dtype=torch.uint8, device="cuda") for _ in range(2))
    runs["copy"] = lambda: target.copy_(source)
    times = interleaved_on_gpu(runs, repeats=repeats)
    copied = 2 * COPIED / percentiles(times.pop("copy"))["p50"]  # bytes per millisecond
    for kind in BRANCHES:
        steps = zip(times.pop(f"TAM step{kind}"), times[f"TAM forward{kind}"], strict=True)
        times[f"TAM backward{kind}"] = [step - forward for step, forward in steps]
    size = clips * FRAMES * channels * side * side * torch.bfloat16.itemsize
    counts = {
        "copy of a map": 2,
        "filter": 2,
        "op": 3,
        "op backward": 4,
        "TAM": 3,
        **{f"TAM forward{kind}": 3 for kind in BRANCHES},
        **{f"TAM backward{kind}": 4 for kind in BRANCHES},
        "shift": 2,
    }
    rows = []
    for name, count in counts.items():
        width = WIDER if name == "shift" else 1
        moved = count * width * size
        each = [time / sets for time in times[name]]
        p = percentiles(each)
        rows.append(
            {
                "operation": name,
                "map": f"{clips * FRAMES} x {width * channels} x {side} x {side}",
                **{f"{key}_us": f"{1e3 * value:.1f}" for key, value in p.items()},
                "bytes": moved,
                "gb_s": f"{moved / p['p50'] / 1e6:.0f}",
                "copy_gb_s": f"{copied / 1e6:.0f}",
                "percent_of_copy": f"{100 * moved / p['p50'] / copied:.1f}",
            }
        )
    return rows


def operations(channels: int, side: int, *, clips: int) -> tuple[dict[str, Run], int]:
    """Return a function for each operation, by name, and the number of input sets.

    Each function runs its operation once on every input set. All sets together exceed the GPU's cache.
    """
    shape = (clips * FRAMES, channels, side, side)
    size = torch.Size(shape).numel() * torch.bfloat16.itemsize
    sets = max(2, int(-(-RING // size)))

    def maps(width: int) -> list[torch.Tensor]:
        wide = (shape[0], width * channels, side, side)
        made = (torch.randn(wide, device="cuda", dtype=torch.bfloat16) for _ in range(sets))
        return [x.contiguous(memory_format=torch.channels_last) for x in made]

    xs, dys, block_inputs = maps(1), maps(1), maps(WIDER)
    assert backend_for(xs[0]) == "triton"
    from tanet.ops.pooling.triton_squeeze import squeeze  # needs Triton

    evaluated = TAM(channels, frames=FRAMES).cuda().bfloat16().eval()
    evaluated.to_kernel_layout()  # VideoNet.optimize does this too
    # As in TAM, channels are contiguous, except in the kernel of the backward pass (`made_by_softmax`).
    kernel = torch.rand(clips, 3, channels, device="cuda").mT
    gate = torch.rand(clips, FRAMES, channels, device="cuda").mT
    made_by_softmax = kernel.contiguous()
    ds = torch.rand(clips * FRAMES, channels, device="cuda")
    leaves = [x.detach().requires_grad_() for x in xs]
    # Keep each output until its set is used again, so that outputs do not share memory that is cached.
    kept: list[object] = [None] * sets

    def each(
        run: Callable[..., object],
        *columns: list[torch.Tensor],
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Run:
        def all_sets() -> None:
            with context():
                for i, row in enumerate(zip(*columns, strict=True)):
                    kept[i] = run(*row)

        return all_sets

    def op_backward(dy: torch.Tensor, x: torch.Tensor) -> object:
        inputs = (dy, x, made_by_softmax, gate, None, None, "none")
        sums = torch.ops.tanet.adaptive_conv_sums(*inputs)
        return sums, torch.ops.tanet.adaptive_conv_dx(*inputs, ds, None, None)

    training: dict[str, Run] = {}
    for kind, fused in BRANCHES.items():
        tam = TAM(channels, frames=FRAMES).cuda()
        trained, weights = torch.compile(tam, fullgraph=True, dynamic=False), list(tam.parameters())

        def step(
            dy: torch.Tensor,
            x: torch.Tensor,
            *,
            trained: Callable[..., torch.Tensor] = trained,
            weights: list[nn.Parameter] = weights,
        ) -> object:
            y = trained(x)
            return y, torch.autograd.grad(y, [x, *weights], dy)

        context = partial(mixed, fused=fused)
        training[f"TAM forward{kind}"] = each(trained, leaves, context=context)
        training[f"TAM step{kind}"] = each(step, dys, leaves, context=context)
    return {
        "copy of a map": each(torch.clone, xs),
        "filter": each(lambda x: adaptive_conv(x, kernel, gate=gate), xs),
        "op": each(
            lambda x: (squeeze(x, None, None, "none", few=False), adaptive_conv(x, kernel, gate=gate)), xs
        ),
        "op backward": each(op_backward, dys, xs),
        "TAM": each(evaluated, xs, context=torch.no_grad),
        **training,
        "shift": each(lambda x: shift(x, frames=FRAMES, part=x.shape[1] // 8), block_inputs),
    }, sets


@contextmanager
def mixed(*, fused: bool) -> Iterator[None]:
    """Run TAM in training under autocast, with fused branches or without them."""
    with (
        nullcontext() if fused else patch.object(tam_module, "fits", lambda *_, **__: False),
        torch.autocast("cuda", torch.bfloat16, cache_enabled=False),
    ):
        yield
