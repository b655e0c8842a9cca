"""Networks that bench/speed.py times, in the forms that its docstring describes (eager, compiled, …)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

from bench.common import capture, interleaved, interleaved_on_gpu
from bench.published import publish
from tanet.models.factory import build
from tanet.models.fusion import fuse_convolutions
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.fusion.packed_stem import pack_stems
from tanet.models.network import DTYPES, Network, Precision
from tanet.ops.convolution import op as convolution
from tanet.recipes.network_settings import StaticKernel
from tanet.recipes.recipe import Network2D, Optim
from tanet.runtime.device import autocast
from tanet.training.optimizer import make_optimizer

Run = Callable[[], object]
# Name of a network → its temporal module, and the start of TAM's static kernels.
NETWORKS: dict[str, tuple[str, StaticKernel]] = {
    "c2d": ("none", "none"),
    "tsm": ("tsm", "none"),
    "tanet": ("tam", "none"),
    # At zero, both kinds of TANet compute the same values. A GPU's clock can depend on the values.
    "tanet-static": ("tam", "zeros"),
    "published": ("tam", "none"),
}
CLASSES = 400


@dataclass(frozen=True)
class Setting:
    """Settings shared by all networks of a comparison."""

    part: str
    backbone: str
    frames: int
    clips: int
    size: int
    device: torch.device
    weights: Precision = "float32"

    @property
    def training(self) -> bool:
        return self.part == "training"

    @property
    def precision(self) -> str:
        return "autocast bfloat16" if self.training else self.weights


@dataclass(frozen=True)
class Side:
    """A network in one form (eager, compiled, …) that is ready to run."""

    network: str
    form: str
    precision: str
    run: Run
    memory: int | None
    """Peak GPU memory during a run in bytes, including weights and clips; None on a CPU."""


def make_sides(name: str, forms: Sequence[str], setting: Setting) -> list[Side]:
    """Build one network in several forms. For each form, print the time of the fastest of five runs."""
    sides: dict[str, Side] = {}
    for form in forms:
        if form == "graph":
            sides[form] = make_graph(sides.get("compiled") or make_side(name, "compiled", setting), setting)
        elif form in ("epilogues", "optimized", "packed"):
            sides[form] = make_graph(make_side(name, form, setting), setting, form=form)
        else:
            sides[form] = make_side(name, form, setting)
        time = min(clock(setting.device, {form: sides[form].run}, repeats=5)[form])
        print(f"  {name}, {form}, T = {setting.frames}: {time:.2f} ms in a first test", flush=True)
    return list(sides.values())


def make_graph(compiled: Side, setting: Setting, *, form: str = "graph") -> Side:
    """Capture a compiled network as a CUDA graph. Its memory is reported as that of the compiled network."""
    if setting.device.type != "cuda":
        return replace(compiled, form=form)
    # Warm up on the stream of the capture: autograd adds up gradients on the stream of the forward pass.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        return replace(compiled, form=form, run=capture(compiled.run, stream=stream))


def make_side(name: str, form: str, setting: Setting) -> Side:
    """Build a network in any form. Warm it up, and measure the memory of one run; do not capture a graph."""
    gpu = setting.device.type == "cuda"
    before = torch.cuda.memory_allocated() if gpu else 0
    layout = torch.contiguous_format if form == "eager" else torch.channels_last
    torch.manual_seed(0)  # tanet and tanet-static start with the same weights and clips
    network = make_network(name, setting).to(setting.device, memory_format=layout)  # type: ignore[call-overload]
    shape = (setting.frames * setting.clips, 3, setting.size, setting.size)
    clips = torch.randn(shape, device=setting.device).contiguous(memory_format=layout)
    clips = clips.unflatten(0, (setting.clips, setting.frames))
    run = (train if setting.training else evaluate)(network, clips, form=form, setting=setting)
    for _ in range(3):
        run()
    memory = None
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated() - before
    return Side(name, form, setting.precision, run, memory)


def make_network(name: str, setting: Setting) -> Network:
    """Build the network `name`. On a GPU, BatchNorms are fused into the TAMs of TANet."""
    temporal, static = NETWORKS[name]
    model = Network2D(
        backbone=setting.backbone, temporal=temporal, static_kernel=static, frames=setting.frames
    )
    network = build(model, classes=CLASSES)
    if name == "published":
        return publish(network)
    if name.startswith("tanet") and setting.device.type == "cuda" and not network.absorb_batch_norms():
        raise ValueError(f"{setting.backbone}: no BatchNorm was fused into TAM; choose another --backbone")
    return network


def evaluate(network: Network, clips: torch.Tensor, *, form: str, setting: Setting) -> Run:
    """Return a function that computes the logits of the clips in evaluation mode."""
    network.eval()
    model: nn.Module = network
    if form == "compiled":
        folded = copy.deepcopy(network).to(DTYPES[setting.weights])
        fold_batch_norms(folded)
        folded.to_format(torch.channels_last)
        model = torch.compile(folded)  # type: ignore[assignment]
    elif form in ("epilogues", "optimized"):
        model = network.optimize(precision=setting.weights, graph=False, compile=True)
    network.to(DTYPES[setting.weights])
    clips = clips.to(DTYPES[setting.weights])

    @torch.no_grad()
    def run() -> torch.Tensor:
        if form != "epilogues":
            return model(clips)
        rules, ways = (fuse_convolutions._conv_relu,), (convolution, "run_fastest", _cudnn_epilogue)
        with patch.object(fuse_convolutions, "RULES", rules), patch.object(*ways):
            return model(clips)

    if model is not network:
        with torch.no_grad():
            expected = network(clips)
        error = (run() - expected).norm() / expected.norm()
        # bfloat16 changes logits by a few per cent. Code of another network changes them by about 100 %.
        if not error < 0.2:
            raise SystemExit(f"compiling changed the network's logits by {error:.0%}; nothing was measured")
    return run


def _cudnn_epilogue(_: object, ways: dict[str, Callable[[], torch.Tensor]]) -> torch.Tensor:
    """Compute a convolution in the way that the form `epilogues` measures."""
    return ways.get("cudnn", ways.get("two convolutions", next(iter(ways.values()))))()


def train(network: Network, clips: torch.Tensor, *, form: str, setting: Setting) -> Run:
    """Return a function that runs a training step. The learning rate is too small to learn anything."""
    network.train()
    labels = torch.arange(len(clips), device=clips.device) % CLASSES
    optimizer = make_optimizer(network, Optim(lr=1e-6))
    model: nn.Module = network
    if form == "packed" and not pack_stems(network):
        raise SystemExit("the network's first convolution cannot be packed; leave out the form 'packed'")
    if form in ("compiled", "packed"):
        model = torch.compile(network, fullgraph=True, dynamic=False)  # type: ignore[assignment]

    def run() -> None:
        with autocast(setting.device, "bfloat16"):
            loss = F.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def clock(device: torch.device, runs: dict[str, Run], *, repeats: int) -> dict[str, list[float]]:
    """Time the functions in turns, and return the milliseconds of each call by name."""
    if device.type == "cuda":
        return interleaved_on_gpu(runs, repeats=repeats)
    return interleaved(runs, repeats=repeats)


@torch.no_grad()
def same_answers() -> None:
    """Check that TANet and published TANet compute the same logits (float64, on a CPU)."""
    network = build(Network2D(backbone="resnet18_w16", frames=4), classes=3).double().eval()
    clips = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    torch.nn.init.normal_(network.head.weight)
    torch.testing.assert_close(network(clips), publish(network)(clips))
