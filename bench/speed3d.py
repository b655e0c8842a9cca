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
from collections.abc import Iterator

import torch

from bench.network_speed import KEY as KEY
from bench.network_speed import Run, add_flags, compare_forms, timed
from tanet.models.factory import create_model

NETWORKS = (
    *("i3d-inception", "i3d-r50", "nl-i3d-r50", "slowonly-r50", "slowfast-r50-4x16"),
    *("tam-slowfast-r50-4x16", "x3d-m", "s3d-g", "r2plus1d-34", "ip-csn-50", "ip-csn-152", "artnet-r18"),
)
FORMS = ("eager", "eager channels-last-3d", "optimized", "optimized usual format")


def flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, networks=NETWORKS, forms=FORMS, repeats=30)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    return compare_forms(flags, make_run)


def make_run(name: str, form: str, clips: torch.Tensor) -> Run:
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
    return timed(network, model, clips)
