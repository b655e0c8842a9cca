"""Names of weights in Caffe2's files: those of PySlowFast's model zoo and video-nonlocal-net, and of VMZ.

A Caffe2 file is a pickled dictionary {"blobs": {name: array}}. The table translates the names into those of
PySlowFast. The prefix t_ marks the fast pathway. VMZ counts its blocks through all stages, comp_0, comp_1, …;
its names are translated into those of its PyTorch code.
"""

import re
from collections.abc import Iterable, Iterator

import torch

from tanet.checkpoints.convert.names3d import translated
from tanet.checkpoints.convert.weight_names import Names

NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}  # riv is the variance itself
LAYER = {"w": "weight", "b": "bias"}
NOT_WEIGHTS = ("momentum", "model_iter", "lr")


def _pathway(mark: str, number: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    yield f"{mark}conv1", f"s1.pathway{number}_stem.conv", LAYER
    yield f"{mark}res_conv1_bn", f"s1.pathway{number}_stem.bn", NORM
    block = f"s{{n}}.pathway{number}_res{{i}}."
    for theirs, ours in {"2a": "branch2.a", "2b": "branch2.b", "2c": "branch2.c", "1": "branch1"}.items():
        yield f"{mark}res{{n}}_{{i}}_branch{theirs}", f"{block}{ours}", LAYER
        yield f"{mark}res{{n}}_{{i}}_branch{theirs}_bn", f"{block}{ours}_bn", NORM


def _pairs() -> Iterator[tuple[str, str, dict[str, str]]]:
    yield "pred", "head.projection", LAYER
    yield "t_pool1_subsample", "s1_fuse.conv_f2s", LAYER
    yield "t_pool1_subsample_bn", "s1_fuse.bn", NORM
    yield "t_res{n}_{i}_branch2c_bn_subsample", "s{n}_fuse.conv_f2s", LAYER
    yield "t_res{n}_{i}_branch2c_bn_subsample_bn", "s{n}_fuse.bn", NORM
    for part in ("theta", "phi", "g", "out"):
        yield f"nonlocal_conv{{n}}_{{i}}_{part}", f"s{{n}}.pathway0_nonlocal{{i}}.conv_{part}", LAYER
    yield "nonlocal_conv{n}_{i}_bn", "s{n}.pathway0_nonlocal{i}.bn", NORM
    yield from _pathway("t_", 1)
    yield from _pathway("", 0)


CAFFE2: Names = tuple(
    (f"{theirs}_{mark}", f"{ours}.{leaf}")
    for theirs, ours, leaves in _pairs()
    for mark, leaf in leaves.items()
)


def is_caffe2(names: list[str]) -> bool:
    """Return whether names come from a Caffe2 file of a 3D ResNet or a SlowFast network."""
    return "conv1_w" in names and "res2_0_branch2a_w" in names


def to_pyslowfast(state: dict[str, torch.Tensor], *, eps: float = 1e-5) -> dict[str, torch.Tensor]:
    """Translate Caffe2's names. Names that the table does not know stay, so that they can be reported.

    video-nonlocal-net also publishes networks whose BatchNorms are frozen: they have a scale and a shift,
    but no statistics. These networks get the statistics that leave scale and shift as they are.
    """
    state = {name: tensor for name, tensor in state.items() if not any(part in name for part in NOT_WEIGHTS)}
    names, _ = translated(state, CAFFE2)
    found = {names.get(name, name): tensor for name, tensor in state.items()}
    for name, tensor in list(found.items()):
        norm = name.removesuffix(".weight")
        if norm.endswith("bn") and norm != name:
            found.setdefault(f"{norm}.running_mean", torch.zeros_like(tensor))
            found.setdefault(f"{norm}.running_var", torch.full_like(tensor, 1 - eps))
    return found


VMZ_R2PLUS1D = {
    "conv_1_middle": "conv1.0.0",
    "spatbn_1_middle": "conv1.0.1",
    "conv_1": "conv1.0.3",
    "spatbn_1": "conv1.1",
    "conv_2_middle": "conv2.0.0",
    "spatbn_2_middle": "conv2.0.1",
    "conv_2": "conv2.0.3",
    "spatbn_2": "conv2.1",
}
VMZ_IP_CSN = {
    "conv_1": "conv1.0",
    "spatbn_1": "conv1.1",
    "conv_2_middle": "conv2.0.0",
    "spatbn_2_middle": "conv2.0.1",
    "conv_2": "conv2.0.2",
    "spatbn_2": "conv2.1",
    "conv_3": "conv3.0",
    "spatbn_3": "conv3.1",
}
VMZ_IR_CSN = {
    "conv_1": "conv1.0",
    "spatbn_1": "conv1.1",
    "conv_3": "conv2.0",  # the authors' code counts the depthwise convolution twice
    "spatbn_3": "conv2.1",
    "conv_4": "conv3.0",
    "spatbn_4": "conv3.1",
}


def is_vmz_caffe2(names: Iterable[str]) -> bool:
    """Return whether names come from a Caffe2 file of VMZ."""
    names = set(names)
    return "conv1_w" in names and any(name.startswith("comp_0_conv_1") for name in names)


def to_vmz(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Translate VMZ's Caffe2 names into those of its PyTorch code. Names that are unknown stay."""
    state = {name: tensor for name, tensor in state.items() if not any(part in name for part in NOT_WEIGHTS)}
    if "comp_0_conv_1_middle_w" in state:
        block, stem = VMZ_R2PLUS1D, {"conv1_middle": "0", "conv1_middle_spatbn_relu": "1", "conv1": "3"}
        stem["conv1_spatbn_relu"] = "4"
    else:
        block = VMZ_IP_CSN if "comp_0_conv_2_middle_w" in state else VMZ_IR_CSN
        stem = {"conv1": "0", "conv1_spatbn_relu": "1"}
    # A stage starts with the block that has a projection; R(2+1)D's first stage has none.
    numbers = {int(match[1]) for name in state if (match := re.match(r"shortcut_projection_(\d+)_w$", name))}
    starts = sorted(numbers | {0})
    layers = {theirs: f"stem.{ours}" for theirs, ours in stem.items()}
    count = 1 + max(int(match[1]) for name in state if (match := re.match(r"comp_(\d+)_", name)))
    for number in range(count):
        stage = sum(number >= start for start in starts)
        ours = f"layer{stage}.{number - starts[stage - 1]}"
        layers |= {f"comp_{number}_{part}": f"{ours}.{name}" for part, name in block.items()}
        layers[f"shortcut_projection_{number}"] = f"{ours}.downsample.0"
        layers[f"shortcut_projection_{number}_spatbn"] = f"{ours}.downsample.1"
    names: dict[str, str] = {}
    for theirs, ours in layers.items():
        leaves = NORM if "spatbn" in theirs else LAYER
        names |= {f"{theirs}_{mark}": f"{ours}.{leaf}" for mark, leaf in leaves.items()}
    names |= {
        name: f"fc.{LAYER[match[1]]}" for name in state if (match := re.match(r"last_out_L\d+_([wb])$", name))
    }
    return {names.get(name, name): tensor for name, tensor in state.items()}
