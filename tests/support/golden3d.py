"""Golden values of 3D networks: key lists and logits that the codebases' own networks computed.

tests/checkpoints/golden3d/ holds the names and shapes of the weights of each network (keys.json.xz) and its
logits (logits.npz) for weights that follow from the names alone (`peer_weights`) and the clip of `peer_clip`.
"""

import json
import lzma
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tanet.checkpoints import convert

FOLDER = Path(__file__).parents[1] / "checkpoints" / "golden3d"
# T, H = W of the clip, and the architecture if the weights fit several.
CLIPS: dict[str, tuple[int, int, str | None]] = {
    "mmaction2-i3d_r50_32x2": (32, 64, None),
    "mmaction2-i3d_r50_nl_embedded_gaussian": (32, 64, None),
    "mmaction2-slowfast_r50_4x16": (32, 64, None),
    "mmaction2-slowonly_r50": (8, 64, None),
    "mmaction2-x3d_m": (16, 64, None),
    "piergiaj-I3D": (16, 224, None),
    "pyslowfast-I3D_8x8_R50": (8, 64, None),
    "pyslowfast-SLOWFAST_16x8_R101_50_50": (64, 64, None),
    "pyslowfast-SLOWFAST_4x16_R50": (32, 64, None),
    "pyslowfast-SLOWFAST_NLN_16x8_R101_50_50": (64, 64, None),
    "pyslowfast-SLOW_8x8_R50": (8, 64, None),
    "pyslowfast-X3D_M": (16, 64, None),
    "pyslowfast-X3D_S": (13, 64, "x3d-s"),
    "pyslowfast-X3D_XL": (16, 64, None),
    "pyslowfast-X3D_XS": (4, 64, "x3d-xs"),
    "pytorchvideo-slow_r50": (8, 224, None),
    "pytorchvideo-slowfast_4x16_r50": (32, 224, None),
    "pytorchvideo-slowfast_r50": (32, 224, None),
    "pytorchvideo-x3d_s": (13, 160, "x3d-s"),
}

# Large networks that differ from another fixture only in clip or depth: `make long` tests their logits.
SIBLINGS = ("pyslowfast-SLOWFAST_16x8_R101_50_50", "pytorchvideo-slowfast_r50")


@cache
def key_lists(kind: str) -> dict[str, dict[str, list[int]]]:
    """Return the key lists that are "read", or those of networks that are "refused": name → key → shape."""
    return json.loads(lzma.decompress((FOLDER / "keys.json.xz").read_bytes()))[kind]


def logits_of(name: str) -> torch.Tensor:
    """Return the logits that the peer's own network computed, [400]."""
    with np.load(FOLDER / "logits.npz") as file:
        return torch.from_numpy(file[name])


def peer_clip(name: str) -> torch.Tensor:
    """Return the clip of a fixture, [1, T, 3, H, W]."""
    frames, size, _ = CLIPS[name]
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((1, 3, frames, size, size), generator=generator) * 2 - 1).transpose(1, 2)


def peer_weights(name: str) -> dict[str, torch.Tensor]:
    """Return the weights of a fixture. Each follows from its name and shape."""
    gain = 1.5 if name.startswith("piergiaj") else 1.0
    return {key: _weight(key, shape, gain) for key, shape in key_lists("read")[name].items()}


def _weight(key: str, shape: list[int], gain: float) -> torch.Tensor:
    leaf, generator = key.rpartition(".")[2], torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    if leaf == "running_var":
        return torch.rand(shape, generator=generator) + 0.5
    values = torch.randn(shape, generator=generator)
    if leaf == "running_mean":
        return values * 0.1
    if len(shape) >= 2:
        gain = 0.1 if "nonlocal" in key or "non_local" in key else gain
        return values * (gain / float(np.prod(shape[1:])) ** 0.5)
    return values * 0.1 if leaf == "bias" else 1 + 0.1 * values


def save_as_peer(path: Path, name: str, state: dict[str, torch.Tensor]) -> None:
    """Write a file as the codebase of a fixture writes its files."""
    codebase = name.partition("-")[0]
    wrap = {"mmaction2": {"meta": {}, "state_dict": state}, "piergiaj": state}
    torch.save(wrap.get(codebase, {"model_state": state, "epoch": 1}), path)


def assert_same_logits(name: str, folder: Path) -> None:
    """Assert that the converted network of a fixture gives the logits of its codebase."""
    path = folder / "theirs.pth"
    save_as_peer(path, name, peer_weights(name))
    network = convert.read(path, network=CLIPS[name][2]).checkpoint.network
    with torch.inference_mode():
        found = network(peer_clip(name))[0]
    expected = logits_of(name)
    assert (found - expected).abs().max() < 1e-4 * expected.std()
