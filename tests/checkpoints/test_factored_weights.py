"""Weights of S3D, R(2+1)D and CSN are read from several codebases, and written for torchvision."""

import dataclasses
import pickle
import re

import pytest
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.checkpoints.convert.write3d import notes_for, state_for
from tanet.checkpoints.weights import read_weights
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.architectures import find_architecture
from tanet.models.factory import build
from tanet.recipes.input_spec import CAFFE, IMAGENET, PLUS_MINUS_ONE, VIDEO
from tanet.recipes.networks3d_factored import S3D, VideoResNet
from tanet.recipes.recipe import Recipe
from tests.support.golden3d import key_lists, peer_weights
from tests.support.narrow_networks import ONE_EACH

KNOWN = key_lists("read")


def recognised(state, beside=None, **options):
    found = recognise3d(state, beside or {}, **options)
    assert found is not None
    return found


def on_meta(name):
    return {key: torch.empty(shape, device="meta") for key, shape in KNOWN[name].items()}


def test_torchvision_and_kylemin_name_the_same_layers_in_the_same_order():
    pairs = list(zip(KNOWN["torchvision-s3d"].items(), KNOWN["kylemin-S3D"].items(), strict=True))
    assert all(mine == theirs for (_, mine), (_, theirs) in pairs)
    numbers = {
        key: torch.full(shape, float(number))
        for number, (key, shape) in enumerate(KNOWN["torchvision-s3d"].items())
    }
    theirs = {key: numbers[mine] for (mine, _), (key, _) in pairs}
    ours, other = recognised(numbers), recognised(theirs)
    assert ours.state.keys() == other.state.keys()
    assert all(torch.equal(ours.state[key], other.state[key]) for key in ours.state)
    assert (ours.input_spec.mean, other.input_spec.range) == (VIDEO.mean, PLUS_MINUS_ONE.range)
    assert (ours.model.head_window, other.model.head_window) == ("2x7x7", "2")


def as_caffe2(state):
    """Return VMZ's weights with its Caffe2 names, as numpy arrays."""
    leaves = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    starts, count = {}, 0
    for stage in range(1, 5):
        starts[stage] = count
        count += len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")})
    is_2plus1d = "stem.3.weight" in state
    stems = {"0": "conv1", "1": "conv1_spatbn_relu"}
    if is_2plus1d:
        stems = {"0": "conv1_middle", "1": "conv1_middle_spatbn_relu", "3": "conv1", "4": "conv1_spatbn_relu"}
    reduced = not is_2plus1d and "layer1.0.conv2.0.2.weight" not in state
    blobs = {}
    for key, tensor in state.items():
        layer, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        is_norm = tensor.ndim == 1 and layer != "fc"
        if layer == "fc":
            name = "last_out_L400"
        elif layer.startswith("stem"):
            name = stems[layer[5:]]
        else:
            stage, block, part = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", layer).groups()
            number = starts[int(stage)] + int(block)
            if part.startswith("downsample"):
                name = f"shortcut_projection_{number}" + ("_spatbn" if is_norm else "")
            else:
                conv = int(part[4])
                middle = (
                    "_middle"
                    if re.fullmatch(r"conv\d\.0\.[01]", part) and (is_2plus1d or not reduced)
                    else ""
                )
                conv += 1 if reduced and conv > 1 else 0  # the depthwise convolution counts twice
                name = f"comp_{number}_{'spatbn' if is_norm else 'conv'}_{conv}{middle}"
        blobs[f"{name}_{leaves[leaf] if is_norm else leaf[0]}"] = tensor.numpy()
    return blobs


@pytest.mark.parametrize("name", ["vmz-r2plus1d_34", "vmz-ip_csn_50", "vmz-ir_csn_50"])
def test_caffe2_files_of_vmz_give_the_same_weights(name, tmp_path):
    numbers = {key: torch.full(shape, float(n)) for n, (key, shape) in enumerate(KNOWN[name].items())}
    path = tmp_path / "c2.pkl"
    path.write_bytes(
        pickle.dumps({"blobs": as_caffe2(numbers) | {"conv1_w_momentum": as_caffe2(numbers)["conv1_w"]}})
    )
    read, expected = read_weights(path), recognised(numbers)
    found = recognised(read.state, read.beside)
    assert (found.kind, found.model) == (expected.kind, expected.model)
    for key, tensor in expected.state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(found.state[key], tensor), key


def test_biases_of_convolutions_become_means_of_norms():
    theirs = peer_weights("qijiezhao-S3D")
    found = recognised(theirs).state
    assert not any(key.endswith((".space.bias", ".time.bias")) for key in found)
    expected = theirs["features.3.bn2.running_mean"] - theirs["features.3.conv2.bias"]
    assert torch.equal(found["Conv3d_2c_3x3.layers.norm.running_mean"], expected)


def test_outputs_of_howto100m_are_told_to_be_an_embedding(tmp_path):
    state = {key: torch.zeros(shape) for key, shape in KNOWN["miech-S3DG"].items()}
    state |= {"fc.weight": torch.zeros(512, 1024), "fc.bias": torch.zeros(512)}
    torch.save(state, tmp_path / "s3d_howto100m.pth")
    (note,) = [note for note in convert.read(tmp_path / "s3d_howto100m.pth").notes if "outputs" in note]
    assert note.startswith("the 512 outputs are an embedding")


def test_text_network_of_howto100m_is_left_out():
    whole = on_meta("miech-S3DG") | {"text_module.fc1.weight": torch.empty(2048, 300, device="meta")}
    assert recognised(whole).state.keys() == recognised(on_meta("miech-S3DG")).state.keys()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torchvision-r3d_18", "R3D of torchvision"),
        ("torchvision-mc3_18", "MC3 of torchvision"),
        ("torchvision-r2plus1d_18", "R(2+1)D of torchvision"),
        ("ig65m-r2plus1d_34", "R(2+1)D of VMZ"),
        ("vmz-ir_csn_152", "CSN of VMZ"),
        ("miech-S3DG", "S3D of HowTo100M"),
    ],
)
def test_kind_names_network_and_codebase(name, kind):
    assert recognised(on_meta(name)).kind == kind


@pytest.mark.parametrize(("name", "width"), [("s3d", None), ("r2plus1d-18", 8), ("mc3-18", 8)])
def test_networks_go_to_torchvision_and_back(name, width, tmp_path):
    found, path = find_architecture(name), tmp_path / "out.pth"
    changes = {} if width is None else {"width": width}
    model = dataclasses.replace(found.settings, **changes)
    network = build(model, classes=3, input_spec=VIDEO)
    notes = convert.write(
        path, checkpoint.Checkpoint(network, Recipe(model=model), ("a", "b", "c")), to="torchvision"
    )
    assert len(notes) == 1  # only that class names are missing
    theirs = torch.load(path)
    if width is None:
        assert {key: list(t.shape) for key, t in theirs.items() if "classifier" not in key} == {
            key: shape for key, shape in KNOWN["torchvision-s3d"].items() if "classifier" not in key
        }
        assert theirs["classifier.1.weight"].shape == (3, 1024, 1, 1, 1)
    back = convert.read(path, network=name).checkpoint
    assert back.recipe.model == model
    state, expected = back.network.state_dict(), network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (S3D(gates="plain"), r"model\.gates plain$"),
        (VideoResNet(width=8, blocks=ONE_EACH), r"model\.style vmz$"),
        (find_architecture("x3d-xs").settings, "torchvision has no X3D"),
    ],
)
def test_what_torchvision_lacks_is_named(model, message):
    with pytest.raises(UserError, match=message):
        state_for(
            checkpoint.Checkpoint(build(model, classes=2), Recipe(model=model), ("a", "b")), "torchvision"
        )


def test_notes_say_what_torchvision_does_otherwise():
    notes = notes_for(S3D(norm_eps=1e-5, head_window="2"), "torchvision", spec=PLUS_MINUS_ONE)
    assert notes[0] == "torchvision's BatchNorms have eps 0.001, this network's 1e-05: set it there"
    assert "torchvision has head_window 2x7x7; this network has head_window 2" in notes[1]
    assert "torchvision's usual config has others" in notes[2]


def test_normalisation_is_that_of_codebase_of_config_or_of_user(tmp_path):
    name = "mmaction2-ircsn_r50"
    assert recognised(on_meta(name)).input_spec.mean == VIDEO.mean
    config = "clip_len=32, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]"
    assert recognised(on_meta(name), {"meta": {"cfg": config}}).input_spec.mean == IMAGENET.mean
    other = config.replace("123.675", "100")
    spec = recognised(on_meta(name), {"meta": {"cfg": other}}).input_spec
    assert (spec.mean, spec.range) == ((100.0, 116.28, 103.53), (0.0, 255.0))
    spec = recognised(on_meta(name), {"meta": {"cfg": config}}, normalisation="caffe").input_spec
    assert (spec.mean, spec.channels) == (CAFFE.mean, "bgr")


def test_convert_stores_views_and_normalisation(tmp_path, capsys):
    model = dataclasses.replace(find_architecture("r2plus1d-18").settings, width=8, blocks=ONE_EACH)
    source, out = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    state = state_for(
        checkpoint.Checkpoint(build(model, classes=3), Recipe(model=model), tuple("abc")), "torchvision"
    )
    torch.save(state, source)
    assert main(["convert", str(source), str(out), "--normalisation", "imagenet"]) == 0
    assert "in 5 × 1 views of 112²" in capsys.readouterr().err
    found = checkpoint.load(out)
    eval, data, spec = found.recipe.eval, found.recipe.data, found.network.input_spec
    assert (eval.clips, eval.crops, eval.resize, eval.resize_width, eval.size) == (5, 1, 128, 171, 112)
    assert (data.resize, data.resize_width, data.size, data.window) == (128, 171, 112, 32)
    assert (spec.mean, spec.resize_width) == (IMAGENET.mean, 171)
    assert main(["convert", str(out), str(tmp_path / "b.safetensors"), "--normalisation", "half"]) == 2
    assert "normalisation is only for a network of another project" in capsys.readouterr().err
