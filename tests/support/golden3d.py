"""Golden values of 3D networks: key lists and logits that the codebases' own networks computed.

tests/checkpoints/golden3d/ holds the names and shapes of the weights of each network (keys.json.xz) and its
logits (logits.npz) for weights that follow from the names alone (`peer_weights`) and the clip of `peer_clip`.
"""

import json
import lzma
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.models.factory import build

FOLDER = Path(__file__).parents[1] / "checkpoints" / "golden3d"
# T, H = W of the clip, and the architecture if the weights fit several.
CLIPS: dict[str, tuple[int, int, str | None]] = {
    "mmaction2-i3d_r50_32x2": (32, 64, None),
    "mmaction2-i3d_r50_nl_embedded_gaussian": (32, 64, None),
    "miech-S3DG": (16, 64, None),
    "mmaction2-ipcsn_r50": (8, 64, None),
    "mmaction2-ipcsn_r152": (8, 64, None),
    "mmaction2-r2plus1d_r34": (8, 112, None),
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
    "qijiezhao-S3D": (16, 224, None),
    "torchvision-r2plus1d_18": (8, 64, None),
    "torchvision-s3d": (16, 224, None),
    "vmz-ip_csn_50": (8, 64, None),
    "vmz-ip_csn_152": (8, 64, None),
    "vmz-r2plus1d_34": (8, 64, None),
}
INCEPTION = ("miech-S3DG", "piergiaj-I3D", "qijiezhao-S3D", "torchvision-s3d")

# Large networks that differ from another fixture only in clip or depth: `make long` tests their logits.
SIBLINGS = (
    "mmaction2-ipcsn_r152",
    "pyslowfast-SLOWFAST_16x8_R101_50_50",
    "pytorchvideo-slowfast_r50",
    "vmz-ip_csn_152",
)


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
    gain = 1.5 if name in INCEPTION else 1.0
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
    wrap = {
        "mmaction2": {"meta": {}, "state_dict": state},
        "pyslowfast": {"model_state": state, "epoch": 1},
        "pytorchvideo": {"model_state": state, "epoch": 1},
    }
    torch.save(wrap.get(codebase, state), path)


def assert_same_logits(name: str) -> None:
    """Assert that the converted network of a fixture gives the logits of its codebase."""
    found = recognise3d(peer_weights(name), {}, network=CLIPS[name][2])
    assert found is not None
    network = build(replace(found.model, frames=CLIPS[name][0]), classes=400).eval()
    network.load_state_dict(found.state)
    with torch.inference_mode():
        logits = network(peer_clip(name))[0]
    expected = logits_of(name)
    assert (logits - expected).abs().max() < 1e-4 * expected.std()
