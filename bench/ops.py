"""Compare the operations of TAM and TSM with the memory bandwidth of one GPU → results/ops.csv.

    python -m bench ops

operation     timed work                                                                 bytes, in maps x
filter        adaptive_conv with gate: reads x, writes y                                 2
op            squeeze and filter: reads x twice, writes y                                3
op backward   sums, then the gradient of the maps: reads dy and x, then dy, writes dx    4
TAM           op in a whole TAM in evaluation, with its branches                         3
TAM backward  op backward in a compiled TAM in training, with its branches               4
shift         TSM's shift of the block's input, 4 times as wide: reads x, writes y       2

32 clips × 8 frames, bfloat16, channels-last. The yardstick is the bandwidth of copying a large tensor in the
same run. Each operation is captured as a CUDA graph over more maps than the cache holds. The time of TAM's
backward pass is that of a training step minus that of its forward pass, both captured. The benchmark exits
unless the kernels' tests pass on this machine.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from bench.common import capture, interleaved_on_gpu, percentiles, require_tests
from tanet import TAM
from tanet.ops import adaptive_conv, backend_for, shift

MAPS = ((64, 56), (128, 28), (256, 14), (512, 7))  # C, side
FRAMES = 8
COPIED = 1 << 30  # bytes that the yardstick reads; it writes as many
WIDER = 4  # a ResNet-50 block's input (TSM's site) has 4 times the channels of the maps inside (TAM's site)
RING = 200e6  # bytes of maps used in turn, so that none stays cached: four times the cache of an H100
TESTS = tuple(
    f"ops/test_{name}_triton.py" for name in ("adaptive_convolution", "tam_inference", "temporal_shift")
)
Run = Callable[[], object]


PACKAGES = ("torch", "triton")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=50)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    if not torch.cuda.is_available():
        raise SystemExit("bench ops needs a GPU, and there is none")
    require_tests(*TESTS)
    for channels, side in MAPS:
        yield from measure(channels, side, clips=flags.clips, repeats=flags.repeats)
        torch.cuda.empty_cache()


def measure(channels: int, side: int, *, clips: int, repeats: int) -> list[dict[str, object]]:
    """Time all operations on maps of one size, and return their rows."""
    # Warm up and capture on one stream: autograd runs a backward pass on the stream of its forward pass.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        made, sets = operations(channels, side, clips=clips)
        runs: dict[str, Run] = {name: capture(run, stream=stream) for name, run in made.items()}
    source, target = (torch.empty(COPIED, dtype=torch.uint8, device="cuda") for _ in range(2))
    runs["copy"] = lambda: target.copy_(source)
    times = interleaved_on_gpu(runs, repeats=repeats)
    copied = 2 * COPIED / percentiles(times.pop("copy"))["p50"]  # bytes per millisecond
    steps = zip(times.pop("TAM step"), times.pop("TAM forward"), strict=True)
    times["TAM backward"] = [step - forward for step, forward in steps]
    size = clips * FRAMES * channels * side * side * torch.bfloat16.itemsize
    counts = {
        "copy of a map": 2,
        "filter": 2,
        "op": 3,
        "op backward": 4,
        "TAM": 3,
        "TAM backward": 4,
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
    """Return the operations by name, each of which processes all sets of maps, and the number of sets."""
    shape = (clips * FRAMES, channels, side, side)
    size = torch.Size(shape).numel() * torch.bfloat16.itemsize
    sets = max(2, int(-(-RING // size)))

    def maps(width: int) -> list[torch.Tensor]:
        wide = (shape[0], width * channels, side, side)
        made = (torch.randn(wide, device="cuda", dtype=torch.bfloat16) for _ in range(sets))
        return [x.contiguous(memory_format=torch.channels_last) for x in made]

    xs, dys, block_inputs = maps(1), maps(1), maps(WIDER)
    assert backend_for(xs[0]) == "triton"
    from tanet.ops.tam_inference.squeeze import squeeze  # needs Triton

    tam = TAM(channels, frames=FRAMES).cuda()
    trained = torch.compile(tam, fullgraph=True, dynamic=False)
    evaluated = TAM(channels, frames=FRAMES).cuda().bfloat16().eval()
    evaluated.to_kernel_layout()  # as VideoNet.optimize does
    # Same memory layout as in TAM: channels are contiguous, except in the kernel used in training.
    kernel = torch.rand(clips, 3, channels, device="cuda").mT
    gate = torch.rand(clips, FRAMES, channels, device="cuda").mT
    made_by_softmax = kernel.contiguous()
    ds = torch.rand(clips * FRAMES, channels, device="cuda")
    leaves = [x.detach().requires_grad_() for x in xs]
    weights = list(tam.parameters())
    # Keep each output until its set is used again, so that outputs do not share memory either.
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

    def step(dy: torch.Tensor, x: torch.Tensor) -> object:
        y = trained(x)
        return y, torch.autograd.grad(y, [x, *weights], dy)

    mixed = partial(torch.autocast, "cuda", torch.bfloat16, cache_enabled=False)
    return {
        "copy of a map": each(torch.clone, xs),
        "filter": each(lambda x: adaptive_conv(x, kernel, gate=gate), xs),
        "op": each(
            lambda x: (squeeze(x, None, None, "none", few=False), adaptive_conv(x, kernel, gate=gate)), xs
        ),
        "op backward": each(op_backward, dys, xs),
        "TAM": each(evaluated, xs, context=torch.no_grad),
        "TAM forward": each(trained, leaves, context=mixed),
        "TAM step": each(step, dys, leaves, context=mixed),
        "shift": each(lambda x: shift(x, frames=FRAMES, part=x.shape[1] // 8), block_inputs),
    }, sets
