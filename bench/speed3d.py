"""Measure clips per second of 3D networks, as built and after `optimize`.

    python -m bench speed3d [--networks x3d-m slowfast-r50-4x16] [--clips 8]

The forms of a network take turns. Clips have the network's own size. On a GPU, all forms run in bfloat16.

form                       execution of a network
eager                      each operation runs separately, weights in PyTorch's usual format
eager channels-last-3d     like eager, but the weights of convolutions are in the format channels-last-3d
optimized                  norms folded, compiled, on a GPU as a CUDA graph, in channels-last-3d
optimized usual format     like optimized, but in PyTorch's usual format

`Network.optimize` uses the faster one of the last two for each network.

`of_eager` is the clips per second divided by those of eager.
"""

import argparse
import gc
from collections.abc import Callable, Iterator

import torch

from bench.common import interleaved, interleaved_on_gpu, percentiles
from tanet.models.architectures import find_architecture
from tanet.models.factory import create_model
from tanet.models.network import Network
from tanet.runtime.device import pick_device

NETWORKS = (
    *("i3d-inception", "i3d-r50", "nl-i3d-r50", "slowonly-r50", "slowfast-r50-4x16"),
    *("tam-slowfast-r50-4x16", "x3d-m", "s3d-g", "r2plus1d-34", "ip-csn-50", "ip-csn-152", "artnet-r18"),
)
FORMS = ("eager", "eager channels-last-3d", "optimized", "optimized usual format")
KEY = ("network", "form", "clips")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--clips", type=int, default=8, help="batch size")
    parser.add_argument("--size", type=int, help="side of the frames (default: the network's)")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    device = pick_device(flags.device)
    torch.backends.cudnn.benchmark = True
    for name in flags.networks:
        torch.compiler.reset()
        gc.collect()
        yield from compare(name, flags, device)


def compare(name: str, flags: argparse.Namespace, device: torch.device) -> Iterator[dict[str, object]]:
    size = flags.size or find_architecture(name).input_spec.size
    frames = find_architecture(name).settings.frames
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    clips = torch.randn(flags.clips, frames, 3, size, size, device=device, dtype=dtype)
    runs = {form: make_run(name, form, clips) for form in flags.forms}
    times = (interleaved_on_gpu if on_gpu else interleaved)(runs, repeats=flags.repeats)
    rates = {form: percentiles([1e3 * flags.clips / time for time in times[form]]) for form in runs}
    first = rates[flags.forms[0]]["p50"]
    for form, rate in rates.items():
        yield {
            "network": name,
            "form": form,
            "frames": frames,
            "size": size,
            "clips": flags.clips,
            "precision": "bfloat16" if on_gpu else "float32",
            **{f"clips_s_{key}": f"{value:.2f}" for key, value in rate.items()},
            "of_eager": f"{rate['p50'] / first:.3f}",
        }


def make_run(name: str, form: str, clips: torch.Tensor) -> Callable[[], object]:
    """Return a function that computes the logits of the clips with a network in this form."""
    torch.manual_seed(0)
    network = create_model(name).to(clips.device).eval()
    if form.startswith("optimized"):
        if form == "optimized usual format":
            network.optimized_format = torch.contiguous_format
        else:
            network.optimized_format = torch.channels_last_3d
        model = network.optimize(precision="bfloat16" if clips.is_cuda else "float32")
    else:
        model = network.to(clips.dtype)
        if form == "eager channels-last-3d":
            model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    check(network, model, clips)

    @torch.inference_mode()
    def run() -> None:
        model(clips)

    return run


@torch.inference_mode()
def check(network: Network, model: torch.nn.Module, clips: torch.Tensor) -> None:
    """Exit unless a form of the network answers as the network does."""
    expected = network.to(clips.dtype)(clips)
    error = (model(clips) - expected).norm() / expected.norm()
    if not error < 0.2:  # bfloat16 changes logits by a few per cent, another network by about 100 %
        raise SystemExit(f"the form changed the network's logits by {error:.0%}; nothing was measured")
