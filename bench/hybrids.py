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
from collections.abc import Iterator

import torch

from bench.network_speed import KEY as KEY
from bench.network_speed import Run, add_flags, compare_forms, timed
from tanet.models.factory import create_model
from tanet.models.network import Network
from tanet.models.video_backbones.cpnet import CorrespondenceProposal, nearest_in_other_frames

NETWORKS = (
    *("tsn-bn-inception", "trn-multiscale-bn-inception", "eco-lite", "eco", "gst-resnet50", "stm-resnet50"),
    *("tada-resnet50", "tsm-nl-resnet50", "blvnet-tam-50", "cpnet-resnet34", "nl-i3d-gcn-r50"),
)
FORMS = ("eager", "optimized")


def flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, networks=NETWORKS, forms=FORMS, repeats=20)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    return compare_forms(flags, make_run, parts={"search": make_search})


def make_run(name: str, form: str, clips: torch.Tensor) -> Run:
    """Return a function that computes the logits of the clips with a network in this form."""
    torch.manual_seed(0)
    network = create_model(name).to(clips.device).eval()
    network.to_format(network.memory_format)
    if form == "optimized":
        model = network.optimize(precision="bfloat16" if clips.is_cuda else "float32")
    else:
        model = network.to(clips.dtype)
    return timed(network, model, clips)


def make_search(name: str, clips: torch.Tensor) -> Run | None:
    """Return a function that searches the nearest places as often as CPNet does for these clips."""
    network = create_model(name).to(clips.device, clips.dtype).eval()
    if not any(isinstance(module, CorrespondenceProposal) for module in network.modules()):
        return None
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
