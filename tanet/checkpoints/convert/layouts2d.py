"""Layouts of 2D weights: tensors that a codebase stores in another form than tanet.

BN-Inception (Cadene)       BatchNorms of shape [1, C]
GST                         2D kernels with a temporal side of 1; `Tconv` beside `conv2`
TSM and mmaction2           `block` and `nl` (`non_local_block`) around a block, with 1×1×1 kernels
TRN                         classifiers of relations one by one; a layer for frames in the classifier's place
bLVNet-TAM, IBM             three depthwise 1×1 kernels `prev`, `curr`, `next`

`plain` converts them to the form that names2d.py maps name by name; `packed` reverses it for TSM and TRN.
"""

import re
from collections.abc import Collection, Mapping

import torch

from tanet.checkpoints.convert.weight_names import non_local_blocks

State = dict[str, torch.Tensor]
TAPS = ("prev", "curr", "next")
TAP = re.compile(r"(.*\.|)tam\.(prev|curr|next)(?:_se\.fc1)?\.weight")
NON_LOCAL = {
    "nl.g.0": "g",
    "nl.theta": "theta",
    "nl.phi.0": "phi",
    "nl.W.0": "out",
    "nl.W.1": "norm",
    "non_local_block.g.0.conv": "g",
    "non_local_block.theta.conv": "theta",
    "non_local_block.phi.0.conv": "phi",
    "non_local_block.conv_out.conv": "out",
    "non_local_block.conv_out.bn": "norm",
}
SINGLE = 512
"""Width of the hidden layer of a TRN with one relation; multi-scale TRNs have 256."""
SCALE = re.compile(r"(.*consensus\.)fc_fusion_scales\.(\d+)\.([13])\.(weight|bias)")


def plain(state: Mapping[str, torch.Tensor]) -> State:
    """Return weights of a 2D network in the form that our networks have, with names of their codebase."""
    return _relations(_non_local(_gst(stack_taps(_norms(state)))))


def _norms(state: Mapping[str, torch.Tensor]) -> State:
    """Remove the first dimension of BatchNorms of shape [1, C]."""
    return {
        name: tensor[0] if "_bn." in name and tensor.ndim == 2 and tensor.shape[0] == 1 else tensor
        for name, tensor in state.items()
    }


def stack_taps(state: Mapping[str, torch.Tensor]) -> State:
    """Stack the three kernels [C, 1, 1, 1] of a temporal aggregation module: `tam.weight`, [C, 3]."""
    found: State = {}
    for name, tensor in state.items():
        match = TAP.fullmatch(name)
        if not match or tensor.shape[1:] != (1, 1, 1):
            found[name] = tensor
            continue
        stacked = found.setdefault(f"{match[1]}tam.weight", tensor.new_zeros(tensor.shape[0], len(TAPS)))
        stacked[:, TAPS.index(match[2])] = tensor.flatten()
    return found


def _gst(state: State) -> State:
    if not any(".Tconv." in name for name in state):
        return state
    found = {}
    for name, tensor in state.items():
        block = name.rpartition(".conv2.")[0]
        new = name.replace(".Tconv.", ".conv2.temporal.")
        if f"{block}.Tconv.weight" in state:
            new = name.replace(".conv2.", ".conv2.space.")
        flat = tensor.ndim == 5 and tensor.shape[2] == 1 and ".Tconv." not in name
        if new.endswith(".conv2.temporal.weight") and tensor.ndim == 5:
            tensor = tensor.movedim(2, 0).flatten(0, 1)  # taps side by side
        found[new] = tensor[:, :, 0] if flat else tensor
    return found


def _non_local(state: State) -> State:
    """Unwrap residual blocks that a non-local block surrounds; add the bias that mmaction2 lacks."""
    wrapped = non_local_blocks(state)
    if not wrapped:
        return state
    found = {}
    blocks = "|".join(map(re.escape, wrapped))
    for name, tensor in state.items():
        new = re.sub(rf"\b({blocks})\.block\.", r"\1.", name)
        for theirs, ours in NON_LOCAL.items():
            new = re.sub(rf"\b({blocks})\.{re.escape(theirs)}\.", rf"\1.temporal.{ours}.", new)
        found[new] = tensor[:, :, 0] if ".temporal." in new and tensor.ndim == 5 else tensor
        if new.endswith("temporal.out.weight"):
            found.setdefault(f"{new.removesuffix('weight')}bias", tensor.new_zeros(tensor.shape[0]))
    return found


def _relations(state: State) -> State:
    """Join the classifiers of TRN's relations as `consensus.head`, and name the layer for frames."""
    found: State = {}
    last: dict[str, dict[int, torch.Tensor]] = {"weight": {}, "bias": {}}
    prefix = ""
    for name, tensor in state.items():
        single = re.fullmatch(r"(.*consensus\.)classifier\.([13])\.(weight|bias)", name)
        match = SCALE.fullmatch(single[1] + f"fc_fusion_scales.0.{single[2]}.{single[3]}" if single else name)
        if not match:
            found[name] = tensor
            continue
        prefix, scale, layer, leaf = match[1], int(match[2]), match[3], match[4]
        if layer == "1":
            found[f"{prefix}relations.layers.{scale}.{leaf}"] = tensor
        else:
            last[leaf][scale] = tensor
    if not prefix:
        return found
    found[f"{prefix}head.weight"] = torch.cat([last["weight"][scale] for scale in sorted(last["weight"])], 1)
    found[f"{prefix}head.bias"] = torch.stack([last["bias"][scale] for scale in sorted(last["bias"])])
    for name in list(found):
        for theirs in ("new_fc.", "cls_head.fc_cls."):
            if name.startswith(theirs):
                found[f"{prefix}frame_layer.{name.removeprefix(theirs)}"] = found.pop(name)
    return found


def packed(state: Mapping[str, torch.Tensor], *, shifted: Collection[str], codebase: str) -> State:
    """Convert weights to the form of a codebase that TSM, TSN or TRN is written for.

    Args:
        state: the weights, in our form, with names that the table of the codebase has given them.
        shifted: names, of these, of the layers that have a temporal shift before them.
        codebase: "official" or "mmaction2".
    """
    found = {}
    for name, tensor in state.items():
        layer = next((one for one in shifted if name.startswith(f"{one}.")), None)
        found[f"{layer}.net{name.removeprefix(layer)}" if layer else name] = tensor
    return _unjoined(_wrapped(found, codebase), codebase)


def _wrapped(state: State, codebase: str) -> State:
    """Wrap residual blocks that have a non-local block, and rename the layers of the non-local block."""
    pattern = re.compile(r"(\w+\.layer\d\.\d+)\.temporal\.(g|theta|phi|out|norm)\.(\w+)")
    blocks = {match[1] for name in state if (match := pattern.fullmatch(name))}
    if not blocks:
        return state
    prefix = "non_local_block" if codebase == "mmaction2" else "nl"
    theirs = {ours: name for name, ours in NON_LOCAL.items() if name.startswith(prefix)}
    found: State = {}
    for name, tensor in state.items():
        if match := pattern.fullmatch(name):
            block, layer, leaf = match.groups()
            if codebase == "mmaction2" and (layer, leaf) == ("out", "bias"):
                continue
            if codebase == "mmaction2" and (layer, leaf) == ("norm", "running_mean"):
                tensor = tensor - state[f"{block}.temporal.out.bias"]
            wide = tensor[:, :, None] if tensor.ndim == 4 else tensor
            found[f"{block}.{theirs[layer]}.{leaf}"] = wide
        else:
            block = next((one for one in blocks if name.startswith(f"{one}.")), None)
            found[f"{block}.block{name.removeprefix(block)}" if block else name] = tensor
    return found


def _unjoined(state: State, codebase: str) -> State:
    """Divide TRN's classifier, and give the layer for frames the name of the classifier for frames."""
    prefix, last = (
        ("cls_head.consensus.", "cls_head.fc_cls.")
        if codebase == "mmaction2"
        else (
            "consensus.",
            "new_fc.",
        )
    )
    layers = [name for name in state if re.fullmatch(rf"{prefix}relations\.layers\.\d+\.weight", name)]
    if not layers:
        return state
    weight, bias = state.pop(f"{last}weight"), state.pop(f"{last}bias")
    scales = len(layers)
    single = scales == 1 and state[f"{prefix}relations.layers.0.weight"].shape[0] == SINGLE
    found: State = {}
    for name, tensor in state.items():
        if name.startswith(f"{prefix}frame_layer."):
            found[last + name.rpartition(".")[2]] = tensor
        elif match := re.fullmatch(rf"{prefix}relations\.layers\.(\d+)\.(\w+)", name):
            scale, leaf = int(match[1]), match[2]
            part = weight.chunk(scales, 1)[scale].contiguous() if leaf == "weight" else bias[scale]
            stem = f"{prefix}classifier" if single else f"{prefix}fc_fusion_scales.{scale}"
            found |= {f"{stem}.1.{leaf}": tensor, f"{stem}.3.{leaf}": part}
        else:
            found[name] = tensor
    return found
