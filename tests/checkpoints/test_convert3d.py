"""Converted 3D networks give the logits of their own codebases, and go there and back."""

import dataclasses
import re

import pytest
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.convert.write3d import notes_for, state_for
from tanet.checkpoints.weights import read_weights
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.architectures import find_architecture
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.recipes.input_spec import IMAGENET
from tanet.recipes.recipe import Recipe
from tests.support.golden3d import CLIPS, SIBLINGS, assert_same_logits, key_lists, peer_weights, save_as_peer

KNOWN = key_lists("read")


@pytest.mark.parametrize("name", [name for name in CLIPS if name not in SIBLINGS])
def test_a_converted_network_gives_the_logits_of_its_codebase(name):
    assert_same_logits(name)


@pytest.mark.parametrize(
    "name",
    ["mmaction2-slowfast_r50_4x16", "mmaction2-x3d_m", "pyslowfast-X3D_S", "pytorchvideo-x3d_s"],
)
def test_there_and_back_all_tensors_are_equal(name, tmp_path):
    theirs, target = peer_weights(name), name.partition("-")[0]
    source, copy = tmp_path / "in.pth", tmp_path / ("out.pth" if target == "mmaction2" else "out.pyth")
    save_as_peer(source, name, theirs)
    converted = convert.read(source, network=CLIPS.get(name, (0, 0, None))[2]).checkpoint
    convert.write(copy, converted, to=target)
    back = read_weights(copy).state
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)
    if target != "mmaction2":  # the clip is stored, too
        again = convert.read(copy).checkpoint
        assert again.recipe.model == converted.recipe.model
        assert again.network.input_spec == converted.network.input_spec


@pytest.mark.parametrize(
    ("name", "target", "changes"),
    [
        ("slowfast-r50-8x8", "pyslowfast", {}),
        ("slowfast-nl-r101-16x8", "pyslowfast", {}),
        ("slowonly-r50", "pyslowfast", {}),
        ("slowfast-r101-16x8", "pytorchvideo", {}),
        ("i3d-r50-8x8", "pytorchvideo", {}),
        ("slowonly-r50", "pytorchvideo", {}),
        ("nl-i3d-r50-mmaction2", "mmaction2", {}),
        (
            "slowfast-r101-r50-4x16",
            "mmaction2",
            {"lateral_norm": False, "slow_frames": "stride", "head_window": 0},
        ),
    ],
)
def test_narrow_networks_go_to_a_codebase_and_back(name, target, changes, tmp_path):
    path = tmp_path / ("out.pth" if target == "mmaction2" else "out.pyth")
    model = dataclasses.replace(find_architecture(name).settings, width=16, **changes)
    network = build(model, classes=3, input_spec=find_architecture(name).input_spec)
    ours = checkpoint.Checkpoint(network, Recipe(model=model), ("a", "b", "c"))
    convert.write(path, ours, to=target)
    found = convert.read(path, network=name).checkpoint
    assert found.recipe.model == model
    state, expected = found.network.state_dict(), network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_weights_go_from_one_codebase_to_another(tmp_path):
    """PySlowFast's SlowOnly in pytorchvideo's names: the same tensors in the other key list."""
    path = tmp_path / "slow.pth"
    save_as_peer(path, "pyslowfast-SLOW_8x8_R50", peer_weights("pyslowfast-SLOW_8x8_R50"))
    converted = convert.read(path).checkpoint
    found = state_for(converted, "pytorchvideo")
    shapes = {key: list(tensor.shape) for key, tensor in found.items()}
    assert shapes == KNOWN["pytorchvideo-slow_r50"]


def test_what_the_weights_do_not_show_goes_into_the_checkpoint(tmp_path):
    source, out = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    save_as_peer(source, "mmaction2-x3d_m", peer_weights("mmaction2-x3d_m"))
    assert main(["convert", str(source), str(out), "--network", "x3d-s"]) == 0
    found = checkpoint.load(out)
    model, spec, eval = found.recipe.model, found.network.input_spec, found.recipe.eval
    assert (model.frames, model.head_window) == (13, 0)
    assert (spec.mean, spec.std, spec.range) == ((114.75,) * 3, (57.38,) * 3, (0.0, 255.0))
    assert (spec.frame_step, found.recipe.data.window) == (6, 78)
    assert (eval.clips, eval.crops, eval.size, eval.style, eval.average) == (
        10,
        3,
        182,
        "mmaction2",
        "softmax",
    )


def narrow(name, **changes):
    """Return a checkpoint of a network with random weights."""
    model = dataclasses.replace(find_architecture(name).settings, **changes)
    with on_meta():
        network = build(model, classes=3)
    return checkpoint.Checkpoint(network, Recipe(model=model), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "target", "cause"),
    [
        ("i3d-r50", "pyslowfast", "no such network with model.stem_stride 2"),
        ("slowfast-r50-4x16", "mmaction2", "no such network with model.lateral_norm True"),
        ("nl-i3d-r50-8x8", "pytorchvideo", "no such network with model.non_local"),
        ("x3d-xl", "mmaction2", "no such network with model.width_factor 2.9"),
        ("tam-slowonly-r50", "pyslowfast", "PySlowFast has no 3D ResNet-50, TAM"),
        ("i3d-inception", "mmaction2", "mmaction2 has no I3D"),
    ],
)
def test_networks_that_a_codebase_does_not_have_are_not_written(name, target, cause):
    with pytest.raises(UserError, match=re.escape(cause)):
        state_for(narrow(name), target)


def test_pytorchvideo_does_not_get_an_x3d_whose_first_shortcut_has_a_norm(tmp_path):
    path = tmp_path / "x3d.pth"
    save_as_peer(path, "pyslowfast-X3D_M", peer_weights("pyslowfast-X3D_M"))
    with pytest.raises(UserError, match="no BatchNorm on the shortcut"):
        state_for(convert.read(path).checkpoint, "pytorchvideo")


def notes_on(name, target, *, spec=None, **changes):
    settings = dataclasses.replace(find_architecture(name).settings, **changes)
    return notes_for(settings, target, spec=spec or find_architecture(name).input_spec)


def test_notes_say_what_another_codebase_does_otherwise():
    differ = "its answers for larger frames differ a little"
    whole, windows = "averages the whole map", "uses 7×7 windows"
    mean, std = "114.75, 114.75, 114.75", "57.375, 57.375, 57.375"
    half = f"this network needs mean {mean} and std {std} of RGB values from 0 to 255"
    assert notes_on("x3d-m", "pyslowfast", head_window=0) == [
        f"PySlowFast {windows}; this network {whole}: {differ}"
    ]
    assert notes_on("x3d-m", "mmaction2") == [f"mmaction2 {whole}; this network {windows}: {differ}"]
    slow, window, normalisation = notes_on("slowfast-r50-4x16", "mmaction2")
    assert slow.startswith("mmaction2 has slow_frames stride, this network linspace")
    assert window == f"mmaction2 {whole}; this network {windows}: {differ}"
    assert normalisation == f"{half}: mmaction2's usual config has others"
    imagenet = dataclasses.replace(IMAGENET, frame_step=8)
    (note,) = notes_on("slowonly-r50", "pyslowfast", spec=imagenet)
    assert note.startswith("this network needs mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225 of RGB")
    assert notes_on("slowonly-r50", "mmaction2", spec=imagenet, head_window=0) == []
    assert "of BGR values" in notes_on("slowonly-r50", "mmaction2", spec=spec_bgr(imagenet), head_window=0)[0]
    for name in ("x3d-s", "x3d-l", "slowfast-r50-8x8", "i3d-r50-8x8"):
        assert notes_on(name, "pyslowfast") == notes_on(name, "pytorchvideo") == []


def spec_bgr(spec):
    return dataclasses.replace(spec, channels="bgr")


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("tam-slowfast-r50-4x16", "--to tanet"),
        ("i3d-inception", "--to tanet"),
        ("slowonly-r50", "--to tanet or pyslowfast or pytorchvideo or mmaction2"),
        ("slowfast-r50-4x16", "--to tanet or pyslowfast or pytorchvideo"),
    ],
)
def test_only_targets_that_have_the_network_are_advised(name, targets):
    with pytest.raises(UserError, match=f"this network is .*: use {targets}$"):
        convert.to_official(narrow(name))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((400,), torch.nan), r"the weights are not finite \(NaN or infinity\): head.bias;"),
        (torch.full((400,), torch.inf), r"the weights are not finite \(NaN or infinity\): head.bias;"),
        (torch.ones(400, dtype=torch.int8), r"not floating-point numbers, .*: head.bias \(torch.int8\);"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(value, message, tmp_path):
    state = peer_weights("pyslowfast-X3D_XS") | {"head.projection.bias": value}
    save_as_peer(tmp_path / "x3d.pth", "pyslowfast-X3D_XS", state)
    with pytest.raises(UserError, match=rf"x3d\.pth: .*{message}"):
        convert.read(tmp_path / "x3d.pth")


def test_note_on_views_is_that_of_the_stored_recipe(tmp_path):
    save_as_peer(tmp_path / "x3d.pth", "pyslowfast-X3D_XS", peer_weights("pyslowfast-X3D_XS"))
    published = convert.read(tmp_path / "x3d.pth").notes
    assert [note for note in published if "views" in note] == [
        note for note in published if note.startswith("a video is tested as published")
    ]
    found = convert.read(tmp_path / "x3d.pth", recipe="slowonly-8x8").notes
    (views,) = [note for note in found if "views" in note]
    assert "are taken from recipe slowonly-8x8" in views


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"frames": 0}, r"^frames must be positive, not 0$"),
        ({"network": "x3d"}, r"^unknown network 'x3d': choose from eco-lite, .*c2d-r50, "),
    ],
)
def test_wrong_arguments_are_refused_first(flags, message, tmp_path):
    with pytest.raises(UserError, match=message):
        convert.read(tmp_path / "absent.pth", **flags)
