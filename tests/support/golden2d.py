"""Golden values of 2D and hybrid networks: key lists and logits that the codebases' own networks computed.

tests/checkpoints/golden2d/ holds the names and shapes of the weights of each network (keys.json.xz) and its
logits (logits.npz) for weights that follow from the names alone (`peer_weights`) and the input of
`peer_input`. CPNet's, "own_cpnet-…", are from another implementation of the authors' code, which does not run
any more.
"""

import json
import lzma
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tanet.checkpoints.convert.recognise import recognise
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.models.factory import build

FOLDER = Path(__file__).parents[1] / "checkpoints" / "golden2d"
# Fixture → frames of its clip, and what its weights do not show. 1 frame: a network for images.
CLIPS: dict[str, tuple[int, dict[str, str]]] = {
    "biglittle-blresnet50-a2-b4-1000": (1, {}),
    "blvnet_tam-50-a2-b4-f8x2-174": (16, {}),
    "cadene-bninception": (1, {}),
    "eco_pytorch-c3dres18-400": (16, {}),
    "eco_pytorch-ecofull-174-8f": (8, {}),
    "eco_pytorch-ecolite-174-8f": (8, {}),
    "eco_pytorch-ecolite-400": (16, {}),
    "gst_video-gst-a4-b2-8f": (8, {}),
    "ibm_ar-tam-r50-8f-174": (8, {}),
    "mmaction2-tsm-r50-8f-174": (8, {}),
    "mmaction2-tsm-r50-nl-dot_product-8f-400-w0.02": (8, {"attention": "dot"}),
    "mmaction2-tsm-r50-nl-embedded_gaussian-8f-400-w0.02": (8, {}),
    "mmaction2-tsm-r50-nl-gaussian-8f-400": (8, {}),
    "mmaction2-tsn-r50-400": (3, {}),
    "mmaction2-tsn-r50-flow-400": (3, {}),
    "tf_model_zoo-bninception": (1, {}),
    "tf_model_zoo-inceptionv3": (1, {}),
    "trn_pytorch-bninception-trn3": (3, {}),
    "trn_pytorch-bninception-trnmultiscale8": (8, {}),
    "tsm-bninception-block-8f-174": (8, {"temporal": "tsm"}),
    "tsm-resnet50-8f-174": (8, {}),
    "tsm-resnet50-flow-8f-174": (8, {}),
    "tsn_pytorch-bninception": (3, {}),
}
KEYS = {
    "eco_pytorch-ecofull-174-8f": "eco_pytorch-ecofull-174",
    "eco_pytorch-ecolite-174-8f": "eco_pytorch-ecolite-174",
    "own_cpnet-cpmodule-c16-k8-T4": "own_cpnet-cpmodule-c16",
    "own_cpnet-cpmodule-c16-k8-shrink2-T4": "own_cpnet-cpmodule-c16",
    "own_cpnet-resnet34-4f-174": "own_cpnet-resnet34-174",
    "tsm-bninception-block-8f-174": "tsm-bninception-blockres-8f-174",
}
"""Key lists of fixtures that are not named like them."""
SIBLINGS = (
    "mmaction2-tsn-r50-400",
    "tsm-resnet50-8f-174",
    "cadene-bninception",
    "eco_pytorch-ecolite-174-8f",
    "eco_pytorch-ecolite-400",
    "tsn_pytorch-bninception",
    "mmaction2-tsm-r50-nl-embedded_gaussian-8f-400-w0.02",
)
"""Networks that differ from another fixture only in clip, classes or names; tested by `make long`."""


@cache
def key_lists() -> dict[str, dict[str, list[int]]]:
    """Return the key lists: name → key → shape."""
    return json.loads(lzma.decompress((FOLDER / "keys.json.xz").read_bytes()))


def key_list(name: str) -> dict[str, list[int]]:
    """Return the key list of a fixture."""
    return key_lists()[KEYS.get(name, name.removesuffix("-w0.02"))]


def logits_of(name: str) -> torch.Tensor:
    """Return the logits that the peer's own network computed."""
    with np.load(FOLDER / "logits.npz") as file:
        return torch.from_numpy(file[name])


def peer_input(name: str) -> torch.Tensor:
    """Return the input of a fixture in the peer's shape."""
    with np.load(FOLDER / "logits.npz") as file:
        shape = tuple(int(size) for size in file[f"{name} shape"])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def peer_weights(name: str) -> dict[str, torch.Tensor]:
    """Return the weights of a fixture. Each follows from its name and shape."""
    keys, gain = key_list(name), 0.02 if name.endswith("w0.02") else 0.05
    return {key: _weight(key, shape, keys, gain) for key, shape in keys.items()}


def _weight(key: str, shape: list[int], keys: dict[str, list[int]], gain: float) -> torch.Tensor:
    module, _, leaf = key.rpartition(".")
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    if leaf == "running_var":
        return 0.5 + torch.rand(shape, generator=generator)
    values = torch.randn(shape, generator=generator)
    if leaf == "weight" and f"{module}.running_mean" in keys:
        return 1 + 0.1 * values
    return values * (0.1 if leaf in ("running_mean", "bias") else gain)


def relative_error(name: str) -> float:
    """Return the relative error of the logits of a converted network."""
    frames, options = CLIPS[name]
    weights = peer_weights(name)
    found = recognise3d(weights, {}) or recognise(
        weights, **{"temporal": None, "frames": max(frames, 2), **options}
    )
    count = frames if frames > 1 else found.model.frames
    network = build(replace(found.model, frames=count), classes=found.classes).eval()
    network.load_state_dict(found.state)
    if name.endswith("trnmultiscale8"):
        network.relations.draw = "published"
        np.random.seed(0)
    images = peer_input(name)
    clips = images.reshape(-1, frames, network.channels, *images.shape[-2:])
    with torch.inference_mode():
        logits = network(clips if frames > 1 else clips.expand(-1, count, -1, -1, -1))
    expected = logits_of(name)
    return float((logits - expected).abs().max() / expected.abs().max())
