"""Measure clips per second of 2D and hybrid networks, as built and after `optimize`.

    python -m bench hybrids [--networks cpnet-resnet34 eco-lite] [--clips 8]

The forms of a network take turns. Clips have the network's own size. On a GPU, all forms run in bfloat16.

form         execution of a network
eager        each operation runs separately, weights in the memory format of training
optimized    norms folded, compiled, on a GPU as a CUDA graph

`of_eager` is the clips per second divided by those of eager. For CPNet, `search_ms` is the time per clip that
its modules need to find the nearest places in other frames, without the rest of the network, and
`search_share` this time divided by that of the eager network.
"""

import argparse
import gc
from collections.abc import Callable, Iterator

import torch

from bench.common import interleaved, interleaved_on_gpu, percentiles
from bench.speed3d import check
from tanet.models.architectures import find_architecture
from tanet.models.factory import create_model
from tanet.models.network import Network
from tanet.models.video_backbones.cpnet import CorrespondenceProposal, nearest_in_other_frames
from tanet.runtime.device import pick_device

NETWORKS = (
    *("tsn-bn-inception", "trn-multiscale-bn-inception", "eco-lite", "eco", "gst-resnet50", "stm-resnet50"),
    *("tada-resnet50", "tsm-nl-resnet50", "blvnet-tam-50", "cpnet-resnet34", "nl-i3d-gcn-r50"),
)
FORMS = ("eager", "optimized")
KEY = ("network", "form", "clips")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--clips", type=int, default=8, help="batch size")
    parser.add_argument("--size", type=int, help="side of the frames (default: the network's)")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    device = pick_device(flags.device)
    torch.backends.cudnn.benchmark = True
    for name in flags.networks:
        torch.compiler.reset()
        gc.collect()
        yield from compare(name, flags, device)


def compare(name: str, flags: argparse.Namespace, device: torch.device) -> Iterator[dict[str, object]]:
    found = find_architecture(name)
    size, frames = flags.size or found.input_spec.size, found.settings.frames
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    clips = torch.randn(flags.clips, frames, 3, size, size, device=device, dtype=dtype)
    runs = {form: make_run(name, form, clips) for form in flags.forms}
    if name.startswith("cpnet"):
        runs["search"] = make_search(name, clips)
    times = (interleaved_on_gpu if on_gpu else interleaved)(runs, repeats=flags.repeats)
    medians = {form: percentiles(times[form])["p50"] for form in runs}
    first = flags.forms[0]
    for form in flags.forms:
        rate = percentiles([1e3 * flags.clips / time for time in times[form]])
        search = medians.get("search") if form == first else None
        yield {
            "network": name,
            "form": form,
            "frames": frames,
            "size": size,
            "clips": flags.clips,
            "precision": "bfloat16" if on_gpu else "float32",
            **{f"clips_s_{key}": f"{value:.2f}" for key, value in rate.items()},
            "of_eager": f"{medians[first] / medians[form]:.3f}",
            "search_ms": f"{search / flags.clips:.3f}" if search else "",
            "search_share": f"{search / medians[first]:.3f}" if search else "",
        }


def make_run(name: str, form: str, clips: torch.Tensor) -> Callable[[], object]:
    """Return a function that computes the logits of the clips with a network in this form."""
    torch.manual_seed(0)
    network = create_model(name).to(clips.device).eval()
    network.to_format(network.memory_format)
    if form == "optimized":
        model = network.optimize(precision="bfloat16" if clips.is_cuda else "float32")
    else:
        model = network.to(clips.dtype)
    check(network, model, clips)

    @torch.inference_mode()
    def run() -> None:
        model(clips)

    return run


def make_search(name: str, clips: torch.Tensor) -> Callable[[], object]:
    """Return a function that searches the nearest places as often as the network does for these clips."""
    network = create_model(name).to(clips.device, clips.dtype).eval()
    points = recorded_points(network, clips)

    @torch.inference_mode()
    def run() -> None:
        for rows, module in points:
            nearest_in_other_frames(rows, frames=module.frames, count=module.neighbours)

    return run


@torch.inference_mode()
def recorded_points(
    network: Network, clips: torch.Tensor
) -> list[tuple[torch.Tensor, CorrespondenceProposal]]:
    """Return the features in which each module of a CPNet searches."""
    found: list[tuple[torch.Tensor, CorrespondenceProposal]] = []

    def keep(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(module, CorrespondenceProposal)
        maps = inputs[0][:, :, ::2, ::2] if module.shrink else inputs[0]
        points = maps.unflatten(0, (-1, module.frames)).movedim(2, -1).flatten(1, 3)
        found.append((points.clone(), module))

    hooks = [
        module.register_forward_pre_hook(keep)
        for module in network.modules()
        if isinstance(module, CorrespondenceProposal)
    ]
    network(clips)
    for hook in hooks:
        hook.remove()
    return found
