"""Checkpoints of other projects are recognised, converted and exported without changes."""

import dataclasses
import pickle
import re

import pytest
import safetensors.torch
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.names2d import MMACTION2, OFFICIAL
from tanet.checkpoints.convert.recognise import recognise
from tanet.checkpoints.convert.weight_names import to_ours, to_theirs
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Network2D
from tests.support.other_codebases import R101, mmaction2, official, official_logits, weights
from tests.support.tiny_videos import TINY

# Arguments for `official` and `mmaction2` that describe our quarter-width ResNet-18.
SMALL = {"depths": (2, 2, 2, 2), "width": 16, "basic": True, "frames": 4}


def save_random_weights(path, shapes, *, prefix="module.", **beside):
    state = weights(shapes, prefix=prefix)
    torch.save({"state_dict": state, **beside}, path)
    return state


def recognise_shapes(shapes, **flags):
    """Recognise a network from the names and shapes of its weights alone."""
    return recognise(weights(shapes, device="meta"), **({"temporal": "tam", "frames": None} | flags))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Write a file like those of the published code: a ResNet-50 with the state of its optimizer."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "ckpt.best.pth.tar"
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(1)}}, "param_groups": [{"lr": 0.01}]}
    accuracy = torch.tensor(76.1)
    state = save_random_weights(
        path, official(), epoch=98, arch="resnet50", optimizer=optimizer, best_prec1=accuracy
    )
    return path, state


@pytest.fixture(scope="module")
def source(published):
    return convert.read(published[0], recipe="kinetics400")


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_official_file_is_recognised(source):
    model = source.checkpoint.recipe.model
    assert source.kind == "TANet of the published code"
    assert model == RECIPES["kinetics400"].model
    eval = dataclasses.replace(RECIPES["kinetics400"].eval, style="published")
    assert source.checkpoint.recipe == dataclasses.replace(RECIPES["kinetics400"], eval=eval)
    assert source.checkpoint.classes == ("0", "1", "2", "3", "4")
    info = source.checkpoint.info
    assert (info["epoch"], info["arch"], round(info["best_prec1"], 3)) == (98, "resnet50", 76.1)
    assert "optimizer" not in info


def test_official_file_is_unchanged_after_round_trip(published, source, tmp_path):
    convert.write(tmp_path / "ours.safetensors", source.checkpoint, to="tanet")
    kept = convert.read(tmp_path / "ours.safetensors")
    assert kept.kind == "checkpoint of tanet"
    assert kept.notes == ()
    convert.write(tmp_path / "theirs.pth", kept.checkpoint, to="official")
    written = torch.load(tmp_path / "theirs.pth", weights_only=True)
    assert len(written["state_dict"]) == 544
    assert_same(written["state_dict"], published[1])
    assert (written["epoch"], written["arch"], round(written["best_prec1"], 3)) == (98, "resnet50", 76.1)


def test_mmaction2_file_is_unchanged_after_round_trip(published, source, tmp_path):
    # The same weights under the names of mmaction2.
    state = dict(zip(mmaction2(), published[1].values(), strict=True))
    meta = {"epoch": 99, "mmaction2_version": "1.2.0", "config": "model = …", "hooks": {}}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "tanet_r50.pth")
    found = convert.read(tmp_path / "tanet_r50.pth", recipe="kinetics400")
    assert found.kind == "TANet of mmaction2"
    eval = dataclasses.replace(source.checkpoint.recipe.eval, style="mmaction2", average="softmax")
    assert found.checkpoint.recipe == dataclasses.replace(source.checkpoint.recipe, eval=eval)
    assert found.checkpoint.info == {"converted_from": found.kind, "epoch": 99} | {
        k: meta[k] for k in ("mmaction2_version", "config")
    }
    assert_same(found.checkpoint.network.state_dict(), source.checkpoint.network.state_dict())
    convert.write(tmp_path / "again.pth", found.checkpoint, to="mmaction2")
    written = torch.load(tmp_path / "again.pth", weights_only=True)
    assert len(written["state_dict"]) == 544
    assert_same(written["state_dict"], state)
    assert written["meta"]["epoch"] == 99


def test_converted_network_matches_formulas_of_paper(published, source):
    torch.manual_seed(1)
    clips = torch.randn(1, 8, 3, 32, 32) + 3 * torch.randn(1, 8, 1, 1, 1)  # clearly different frames
    expected = official_logits(published[1], clips)
    with torch.no_grad():
        found = source.checkpoint.network(clips)
        backwards = source.checkpoint.network(clips.flip(1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert (backwards - expected).abs().max() > 1e-2 * expected.abs().max()


def test_older_names_of_official_files_are_read(tmp_path):
    torch.manual_seed(0)
    state = save_random_weights(tmp_path / "new.pth", official(**SMALL))
    older = dict(zip(official(**SMALL, wrap="old"), state.values(), strict=True))
    older = {name.replace("new_fc", "base_model.fc"): tensor for name, tensor in older.items()}
    torch.save({"state_dict": older}, tmp_path / "old.pth")
    assert "base_model.layer1.0.self_conv.conv_f.0.weight" in older
    new, old = (convert.read(tmp_path / f"{name}.pth").checkpoint for name in ("new", "old"))
    assert_same(old.network.state_dict(), new.network.state_dict())


@pytest.mark.parametrize(
    ("shapes", "fields"),
    [
        ({"kernel": 5}, {"kernel": 5, "local_kernel": 5}),
        ({"kernel": 5, "local": 3}, {"kernel": 5, "local_kernel": 3}),
        ({"frames": 16}, {"frames": 16}),
        ({"depths": R101}, {"backbone": "resnet101"}),
        ({"depths": (3, 8, 36, 3)}, {"backbone": "resnet152"}),
        ({"plugged": "34"}, {"stages": ("res4", "res5")}),
        ({"classes": 174}, {}),
    ],
)
def test_model_is_recognised_from_names_and_shapes(shapes, fields):
    found = recognise_shapes(official(**shapes))
    defaults = {"backbone": "resnet50", "temporal": "tam", "frames": 8, "kernel": 3, "alpha": 2, "beta": 4}
    for name, value in (defaults | {"local_kernel": 3} | fields).items():
        assert getattr(found.model, name) == value
    assert found.classes == shapes.get("classes", 5)


def test_alpha_and_beta_are_recognised_from_shapes():
    shapes = {}
    for name, shape in mmaction2().items():  # α 4, β 8
        shape = (4 * 8, *shape[1:]) if re.search(r"\.G\.[01]\.(?!num)", name) else shape
        shape = (3, 32) if name.endswith(".G.3.weight") else shape
        shape = (shape[0] // 2, *shape[1:]) if re.search(r"\.L\.(0|1)\.(?!num)", name) else shape
        shapes[name] = (shape[0], shape[1] // 2, 1) if name.endswith(".L.3.weight") else shape
    model = recognise_shapes(shapes).model
    assert (model.alpha, model.beta, model.frames) == (4, 8, 8)


@pytest.mark.parametrize("stages", [("res2", "res3", "res4", "res5"), ("res4",)])
@pytest.mark.parametrize(("table", "per_block"), [(OFFICIAL, ".net."), (MMACTION2, ".block.")])
def test_weight_names_convert_in_both_directions(table, per_block, stages):
    with on_meta():
        ours = list(build(Network2D(stages=stages), classes=2).state_dict())
    theirs = to_theirs(ours, table)
    assert len(set(theirs.values())) == len(ours)
    assert list(to_ours(theirs.values(), table).values()) == ours
    # Exactly the blocks that have a TAM are wrapped.
    wrapped = {re.search(r"layer(\d)", name)[1] for name in theirs.values() if per_block in name}
    assert wrapped == {str(int(stage[3]) - 1) for stage in stages}


def test_tanet_r_must_be_requested_and_needs_tanet(tmp_path):
    save_random_weights(tmp_path / "a.pth", official(**SMALL))
    found = convert.read(tmp_path / "a.pth", temporal="tanet-r").checkpoint
    assert found.recipe.model.temporal == "tanet-r"
    assert found.network.backbone.layer1[0].conv2.temporal.order == "tanet-r"
    save_random_weights(tmp_path / "b.pth", official(**SMALL, wrap="shift"))
    with pytest.raises(ValueError, match="is a TSM of the published code; it cannot be read as tanet-r"):
        convert.read(tmp_path / "b.pth", temporal="tanet-r")
    with pytest.raises(ValueError, match="published TANets have tam at position b"):
        convert.to_official(found)


@pytest.mark.parametrize(("names", "owner"), [(official, "the published code"), (mmaction2, "mmaction2")])
@pytest.mark.parametrize(("wrap", "temporal"), [("shift", "tsm"), ("none", "none")])
def test_tsm_and_2d_networks_are_converted(tmp_path, names, owner, wrap, temporal):
    torch.manual_seed(0)
    shapes = names(**SMALL, wrap=wrap)
    state = save_random_weights(tmp_path / "a.pth", shapes)
    source = convert.read(tmp_path / "a.pth")
    assert source.kind == f"{'TSM' if wrap == 'shift' else '2D network'} of {owner}"
    assert "number of frames: 8 assumed; --frames sets it" in source.notes[0]
    source = convert.read(tmp_path / "a.pth", frames=4)
    assert not any("--frames" in note for note in source.notes)
    # Load the same weights by their order, which all formats share.
    network = build(Network2D(backbone="resnet18_w16", temporal=temporal, frames=4), classes=5).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    clips = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(source.checkpoint.network(clips), network(clips))
        same = torch.allclose(source.checkpoint.network(clips.flip(1)), network(clips))
    assert same == (temporal == "none")


def test_tsm_may_omit_stages_or_every_second_block():
    assert recognise_shapes(official(wrap="shift", plugged="24")).model.stages == ("res3", "res5")
    # TSM's code shifts every second block of ResNet-101.
    shapes = official(R101, wrap="shift")
    shapes = {re.sub(r"(\.\d*[13579]\.conv1)\.net", r"\1", name): shape for name, shape in shapes.items()}
    assert recognise_shapes(shapes).model.blocks == "alternate"
    shapes = {re.sub(r"(layer3\.2\.conv1)\.net", r"\1", name): shape for name, shape in shapes.items()}
    with pytest.raises(
        ValueError, match=r"only some blocks of a stage \(not layer1\.1, layer2\.1, .* more\)"
    ):
        recognise_shapes(shapes)


PUBLISHERS = {
    "bn_inception": "TSN's model zoo",
    "blresnet50": "Big-Little Net",
    "blresnet101": "Big-Little Net",
}


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.endswith(("_w16", "_cuhk"))])
def test_every_image_network_is_recognised(name):
    with on_meta():
        state = BACKBONES[name](classes=7).state_dict()
    found = recognise(state, temporal="tam", frames=None)
    assert (found.kind, found.classes) == (f"2D network of {PUBLISHERS.get(name, 'torchvision')}", 7)
    assert (found.model.backbone, found.model.temporal) == (name, "none")
    assert any("AuxLogits" in note for note in found.notes) == (name == "inception_v3")


@pytest.mark.parametrize("names", [official, mmaction2])
def test_tsm_may_shift_whole_blocks(names):
    shapes = names(R101, wrap="none")
    shapes = {re.sub(r"(layer\d\.\d+)\.", r"\1.net.", name): shape for name, shape in shapes.items()}
    assert any("layer1.0.net.conv1" in name for name in shapes)
    model = recognise_shapes(shapes).model
    assert (model.temporal, model.position, model.blocks) == ("tsm", "input", "all")


def test_tanet_weights_without_recipe_are_read(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2).eval()
    torch.save(network.state_dict(), tmp_path / "state.pth")
    found = convert.read(tmp_path / "state.pth")
    assert found.kind == "TANet of tanet"
    assert_same(found.checkpoint.network.state_dict(), network.state_dict())
    assert (
        convert.read(tmp_path / "state.pth", temporal="tanet-r").checkpoint.recipe.model.temporal == "tanet-r"
    )
    # A shift has no weights, so TSM cannot be told from a 2D network.
    torch.save(
        build(Network2D(backbone="resnet18_w16", temporal="tsm"), classes=400).state_dict(),
        tmp_path / "tsm.pth",
    )
    with pytest.raises(ValueError, match=r"tsm\.pth: tanet weights without a recipe and without TAMs"):
        convert.read(tmp_path / "tsm.pth")


def test_imagenet_file_gives_logits_of_its_network(tmp_path):
    torch.manual_seed(0)
    plain = BACKBONES["mobilenet_v2"](classes=7).eval()
    torch.save(plain.state_dict(), tmp_path / "mobilenet_v2.pth")
    network = convert.read(tmp_path / "mobilenet_v2.pth", frames=2).checkpoint.network
    clips = torch.randn(1, 2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(clips), plain(clips[0]).mean(0, keepdim=True))


def test_imagenet_file_without_classifier_is_rejected(data):
    path = data / "weights" / "mobilenet_v2_imagenet.pth"
    with pytest.raises(
        ValueError, match=r"imagenet\.pth: mobilenet_v2 without a classifier.*--model\.weights"
    ):
        convert.read(path)


def test_missing_and_unexpected_weights_are_reported_by_names_in_file(tmp_path):
    shapes = official(**SMALL)
    shapes["base_model.layer9.0.extra"] = (1,)
    shapes["base_model.layer1.0.net.conv2.weight"] = (1, 2, 3, 3)
    del shapes["base_model.layer4.1.tam.L.3.weight"], shapes["new_fc.bias"]
    save_random_weights(tmp_path / "a.pth", shapes)
    with pytest.raises(ValueError, match="weights are most similar to a TANet") as error:
        convert.read(tmp_path / "a.pth")
    assert str(error.value) == (
        f"{tmp_path / 'a.pth'}: the weights are most similar to a TANet of the published code "
        "(resnet18_w16), but not equal; missing: base_model.layer4.1.tam.L.3.weight, new_fc.bias; "
        "unexpected: base_model.layer9.0.extra; "
        "of another shape: base_model.layer1.0.net.conv2.weight [1, 2, 3, 3] instead of [16, 16, 3, 3]"
    )
    shapes = {name: shape for name, shape in official(**SMALL).items() if "layer4" not in name}
    with pytest.raises(ValueError, match=r"missing: base_model\.layer4\.0\.bn1\.bias, .* and \d+ more"):
        recognise_shapes(shapes)


def test_batch_counters_may_be_missing(tmp_path):
    shapes = {name: s for name, s in official(**SMALL).items() if not name.endswith("num_batches_tracked")}
    save_random_weights(tmp_path / "a.pth", shapes)
    assert convert.read(tmp_path / "a.pth").checkpoint.recipe.model.backbone == "resnet18_w16"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"blocks.0.attn.qkv.weight": (3, 3)}, "unknown kind of weights.*; the names here are blocks.0.attn"),
        ({"module.backbone.blocks.0.weight": (3,)}, "unknown kind of weights"),
        (
            {**official(**SMALL), "base_model.fc.bias": (5,)},
            "several weights for the same parameter: new_fc.bias, base_mod",
        ),
        (
            {k: s for k, s in official(**SMALL).items() if ".L." not in k},
            r"the TAMs have no weight L\.0\.weight",
        ),
    ],
)
def test_unknown_and_ambiguous_weights_are_rejected(shapes, message):
    with pytest.raises(ValueError, match=message):
        recognise_shapes(shapes)


class OpensFileWhenUnpickled:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_file_that_runs_commands_is_rejected_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": OpensFileWhenUnpickled()}, "zip.pth")
    torch.save(
        {"state_dict": {}, "meta": OpensFileWhenUnpickled()}, "old.pth", _use_new_zipfile_serialization=False
    )
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(OpensFileWhenUnpickled(), protocol=2))
    for name in ("zip", "old", "raw"):
        with pytest.raises(UserError, match=r"^[^\n]*asks to call \S*open, which can run commands[^\n]*$"):
            convert.read(f"{name}.pth")
    assert not (tmp_path / "exploded").exists()


def test_damaged_files_give_one_line_error(tmp_path):
    save_random_weights(tmp_path / "whole.pth", official(**SMALL))
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in {
        "cut": whole[:-5000],
        "half": whole[:3000],
        "noise": b"\x00\x01no",
    }.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"^[^\n]*cannot be read as weights \([^\n]+\)$"):
            convert.read(tmp_path / f"{name}.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(ValueError, match=r"empty\.pth: the file is empty"):
        convert.read(tmp_path / "empty.pth")
    (tmp_path / "cut.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(9)})[:-5])
    with pytest.raises(ValueError, match=r"^[^\n]*cannot be read as weights \([^\n]+\)$"):
        convert.read(tmp_path / "cut.safetensors")
    torch.save({"state_dict": [1, 2]}, tmp_path / "list.pth")
    torch.save({}, tmp_path / "nothing.pth")
    for name in ("list", "nothing"):
        with pytest.raises(ValueError, match="holds no state dict"):
            convert.read(tmp_path / f"{name}.pth")
    with pytest.raises(ValueError, match=r"absent\.pth: no such file"):
        convert.read(tmp_path / "absent.pth")


@pytest.fixture
def ours(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2).eval()
    checkpoint.save(tmp_path / "ours.safetensors", Checkpoint(network, TINY, ("left", "right"), {"epoch": 3}))
    return tmp_path / "ours.safetensors", network


def test_weights_are_adapted_to_frames_only_when_requested(ours):
    path, network = ours
    with pytest.raises(ValueError, match="for clips of 4 frames, not 8: --change-frames interpolate adapts"):
        convert.read(path, frames=8)
    source = convert.read(path, frames=8, interpolate=True)
    assert source.notes == ("weights for 4 frames were adapted to 8: fine-tune them",)
    found = source.checkpoint
    assert (found.recipe.model.frames, found.network.frames, found.info["epoch"]) == (8, 8, 3)
    assert (found.recipe.data, found.classes) == (TINY.data, ("left", "right"))
    tam = found.network.backbone.layer1[0].conv2.temporal
    assert torch.equal(tam.G[3].weight[:, ::2] * 2, network.backbone.layer1[0].conv2.temporal.G[3].weight)
    assert found.network(torch.randn(1, 8, 3, 32, 32)).shape == (1, 2)
    assert convert.read(path, frames=4).notes == ()


@pytest.mark.parametrize("temporal", ["none", "tsm", "i3d"])
@pytest.mark.parametrize("interpolate", [False, True])
def test_frames_change_freely_if_weights_do_not_depend_on_them(tmp_path, temporal, interpolate):
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, temporal=temporal))
    network = build(recipe.model, classes=2).eval()
    path = tmp_path / "own.safetensors"
    checkpoint.save(path, Checkpoint(network, recipe, ("left", "right")))
    source = convert.read(path, frames=16, interpolate=interpolate)
    assert source.notes == ("now for clips of 16 frames, not 4: the weights did not have to change",)
    assert source.checkpoint.recipe.model == dataclasses.replace(recipe.model, frames=16)
    assert_same(source.checkpoint.network.state_dict(), network.state_dict())
    assert source.checkpoint.network(torch.randn(1, 16, 3, 32, 32)).shape == (1, 2)


def make_tanet_resnet50(**fields):
    """Build the checkpoint of a TANet with ResNet-50 on the meta device, so without weight values."""
    recipe = dataclasses.replace(TINY, model=Network2D(frames=8, **fields))
    with on_meta():
        return Checkpoint(build(recipe.model, classes=2), recipe, ("left", "right"))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"alpha": 4}, "4, 4, 3 and 3"),
        ({"beta": 8}, "2, 8, 3 and 3"),
        ({"kernel": 5, "local_kernel": 5}, "2, 4, 5 and 5"),
        ({"local_kernel": 5}, "2, 4, 3 and 5"),
    ],
)
def test_options_unknown_to_published_code_are_rejected(fields, found):
    with pytest.raises(ValueError, match=rf"kernel 3 and local_kernel 3; this network has {found}$"):
        convert.to_official(make_tanet_resnet50(**fields))
    assert len(convert.to_mmaction2(make_tanet_resnet50(**fields))["state_dict"]) == 544


def test_tanet_with_omitted_stages_is_not_exported():
    for turn in (convert.to_official, convert.to_mmaction2):
        with pytest.raises(ValueError, match="this network has TAMs only in res4, res5: use --to tanet"):
            turn(make_tanet_resnet50(stages=("res4", "res5")))
        assert len(turn(make_tanet_resnet50(stages=("res5", "res4", "res3", "res2")))["state_dict"]) == 544


def test_export_reports_what_format_does_not_contain(tmp_path, monkeypatch):
    # Replace torch.save, because the weights on the meta device have no values.
    monkeypatch.setattr(torch, "save", lambda content, file: file.write(b"weights"))
    path = tmp_path / "a.pth"
    lost = f"{path}: this format does not contain class names and recipe; pass them on separately"
    assert convert.write(path, make_tanet_resnet50(), to="official") == (lost,)
    assert convert.write(path, make_tanet_resnet50(), to="mmaction2") == (lost,)
    settings = "alpha=4, adaptive_kernel_size=5, adaptive_convolution_padding=2"
    assert convert.write(path, make_tanet_resnet50(alpha=4, kernel=5), to="mmaction2") == (
        lost,
        f"{path}: mmaction2's config must say tam_cfg=dict({settings})",
    )
    assert convert.write(path, make_tanet_resnet50(beta=8, local_kernel=5), to="mmaction2")[1].endswith(
        "tam_cfg=dict(beta=8, conv1d_kernel_size=5)"
    )


def test_export_rejects_networks_unknown_to_format(ours, tmp_path):
    found = convert.read(ours[0]).checkpoint
    for to in ("official", "mmaction2"):
        with pytest.raises(ValueError, match="this network has tam at auto of resnet18_w16: use --to tanet"):
            convert.write(tmp_path / "a.pth", found, to=to)
    with pytest.raises(ValueError, match=r"a\.pth: the name of a file for tanet must end in \.safetensors"):
        convert.write(tmp_path / "a.pth", found, to="tanet")
    assert not (tmp_path / "a.pth").exists()


def test_convert_command_writes_checkpoint(tmp_path, capsys):
    save_random_weights(tmp_path / "a.pth", official(**SMALL), epoch=7)
    (tmp_path / "names.txt").write_text("zero\none\ntwo\nthree\nfour\n")
    a, b = str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")
    assert main(["convert", a, b]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{a}: TANet of the published code, resnet18_w16, 5 classes",
        f"{b}: written for tanet, temporal module tam, 4 frames",
    ]
    assert [line[:5] for line in shown.err.splitlines()] == ["note:"] * 3
    assert "uniform sampling and 1 × 1 views of 224² are taken from recipe finetune" in shown.err
    assert "classes are named 0 … 4; --class-names sets their names" in shown.err
    names = ["--class-names", str(tmp_path / "names.txt")]
    assert main(["convert", a, b, *names, "--recipe", "kinetics400"]) == 0
    found = checkpoint.load(b)
    assert found.classes == ("zero", "one", "two", "three", "four")
    assert (found.recipe.eval, found.recipe.model.frames) == (
        dataclasses.replace(RECIPES["kinetics400"].eval, style="published"),
        4,
    )
    assert found.info["epoch"] == 7
    c = str(tmp_path / "c.safetensors")
    assert main(["convert", b, c, "--frames", "8", "--change-frames", "interpolate"]) == 0
    assert checkpoint.load(c).recipe.model.frames == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "8"], "--change-frames interpolate adapts them"),
        (["--change-frames", "interpolate"], "--change-frames needs the number of frames: add --frames"),
        (["--class-names", "NAMES"], "5 classes, but 1 class names"),
        (["--recipe", "kinetic"], "unknown recipe 'kinetic': choose from finetune"),
        (["--to", "official"], "b.safetensors: the name of a file for official must end in .pth"),
    ],
)
def test_convert_command_reports_wrong_flags_in_one_line(flags, message, tmp_path, capsys):
    save_random_weights(tmp_path / "a.pth", official(**SMALL))
    (tmp_path / "names.txt").write_text("only\n")
    flags = [str(tmp_path / "names.txt") if flag == "NAMES" else flag for flag in flags]
    assert main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors"), *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert not (tmp_path / "b.safetensors").exists()


def test_convert_command_does_not_overwrite_its_input(ours, capsys):
    before = ours[0].read_bytes()
    assert main(["convert", str(ours[0]), str(ours[0])]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert ours[0].read_bytes() == before


def test_convert_help_shows_each_example_on_its_own_line(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in shown if line.startswith("  tanet convert ")] == [
        "ckpt.best.pth.tar",
        "mine.safetensors",
        "8f.safetensors",
    ]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    shapes = official(**SMALL)
    state = weights(shapes, prefix="")
    name = next(name for name in state if name.endswith("new_fc.bias"))
    torch.save({"state_dict": state | {name: torch.full_like(state[name], torch.nan)}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"the weights are not finite \(NaN or infinity\): head.bias"):
        convert.read(tmp_path / "a.pth")


def test_unknown_weights_are_told_all_that_is_known():
    with pytest.raises(ValueError, match="I3D, C2D, SlowOnly, SlowFast and X3D of PySlowFast"):
        recognise_shapes({"params/Conv3d_2b_1x1/Conv_0/kernel": (1, 1, 1, 64, 64)})
