"""Others' checkpoints: recognised, computed with as their formats say, and given back as they were."""

import argparse
import dataclasses
import pickle
import re
import shlex

import pytest
import safetensors.torch
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.recognise import recognise
from tanet.checkpoints.convert.weight_names import MMACTION2, OFFICIAL, to_ours, to_theirs
from tanet.checkpoints.weights import read_weights
from tanet.cli import main
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Network2D
from tests.support.other_codebases import R101, mmaction2, official, official_logits, weights
from tests.support.tiny_videos import TINY

# Our quarter-width ResNet-18, as the other projects would name its weights.
SMALL = {"depths": (2, 2, 2, 2), "width": 16, "basic": True, "frames": 4}


def save(path, shapes, *, prefix="module.", **beside):
    state = weights(shapes, prefix=prefix)
    torch.save({"state_dict": state, **beside}, path)
    return state


def seen(shapes, **flags):
    """What names and shapes alone are taken for."""
    return recognise(weights(shapes, device="meta"), **({"temporal": "tam", "frames": None} | flags))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of the published code, ResNet-50; with an optimizer's state, as such files have."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "ckpt.best.pth.tar"
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(1)}}, "param_groups": [{"lr": 0.01}]}
    accuracy = torch.tensor(76.1)
    state = save(path, official(), epoch=98, arch="resnet50", optimizer=optimizer, best_prec1=accuracy)
    return path, state


@pytest.fixture(scope="module")
def source(published):
    return convert.read(published[0], recipe="kinetics400")


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_official_is_recognised(source):
    model = source.checkpoint.recipe.model
    assert source.kind == "TANet of the published code"
    assert model == RECIPES["kinetics400"].model
    assert source.checkpoint.recipe == RECIPES["kinetics400"]
    assert source.checkpoint.classes == ("0", "1", "2", "3", "4")
    info = source.checkpoint.info
    assert (info["epoch"], info["arch"], round(info["best_prec1"], 3)) == (98, "resnet50", 76.1)
    assert "optimizer" not in info


def test_official_comes_back(published, source, tmp_path):
    convert.write(tmp_path / "ours.safetensors", source.checkpoint, to="tanet")
    kept = convert.read(tmp_path / "ours.safetensors")
    assert kept.kind == "checkpoint of tanet"
    assert kept.notes == ()
    convert.write(tmp_path / "theirs.pth", kept.checkpoint, to="official")
    written = torch.load(tmp_path / "theirs.pth", weights_only=True)
    assert len(written["state_dict"]) == 544
    assert_same(written["state_dict"], published[1])
    assert (written["epoch"], written["arch"], round(written["best_prec1"], 3)) == (98, "resnet50", 76.1)


def test_mmaction2_comes_back(published, source, tmp_path):
    # The same weights by mmaction2's names.
    state = dict(zip(mmaction2(), published[1].values(), strict=True))
    meta = {"epoch": 99, "mmaction2_version": "1.2.0", "config": "model = …", "hooks": {}}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "tanet_r50.pth")
    found = convert.read(tmp_path / "tanet_r50.pth", recipe="kinetics400")
    assert found.kind == "TANet of mmaction2"
    assert found.checkpoint.recipe == source.checkpoint.recipe
    assert found.checkpoint.info == {"converted_from": found.kind, "epoch": 99} | {
        k: meta[k] for k in ("mmaction2_version", "config")
    }
    assert_same(found.checkpoint.network.state_dict(), source.checkpoint.network.state_dict())
    convert.write(tmp_path / "again.pth", found.checkpoint, to="mmaction2")
    written = torch.load(tmp_path / "again.pth", weights_only=True)
    assert len(written["state_dict"]) == 544
    assert_same(written["state_dict"], state)
    assert written["meta"]["epoch"] == 99


def test_logits_are_those_of_the_formulas(published, source):
    torch.manual_seed(1)
    clips = torch.randn(2, 8, 3, 48, 48) + 3 * torch.randn(2, 8, 1, 1, 1)  # frames that are told apart
    expected = official_logits(published[1], clips)
    with torch.no_grad():
        found = source.checkpoint.network(clips)
        backwards = source.checkpoint.network(clips.flip(1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert (backwards - expected).abs().max() > 1e-2 * expected.abs().max()


def test_older_names_without_module_and_without_dropout(tmp_path):
    torch.manual_seed(0)
    state = save(tmp_path / "new.pth", official(**SMALL))
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
def test_the_model_is_read_from_names_and_shapes(shapes, fields):
    found = seen(official(**shapes))
    defaults = {"backbone": "resnet50", "temporal": "tam", "frames": 8, "kernel": 3, "alpha": 2, "beta": 4}
    for name, value in (defaults | {"local_kernel": 3} | fields).items():
        assert getattr(found.model, name) == value
    assert found.classes == shapes.get("classes", 5)


def test_a_file_with_other_widths_of_its_branches():
    shapes = {}
    for name, shape in mmaction2().items():  # α 4, β 8
        shape = (4 * 8, *shape[1:]) if re.search(r"\.G\.[01]\.(?!num)", name) else shape
        shape = (3, 32) if name.endswith(".G.3.weight") else shape
        shape = (shape[0] // 2, *shape[1:]) if re.search(r"\.L\.(0|1)\.(?!num)", name) else shape
        shapes[name] = (shape[0], shape[1] // 2, 1) if name.endswith(".L.3.weight") else shape
    model = seen(shapes).model
    assert (model.alpha, model.beta, model.frames) == (4, 8, 8)


@pytest.mark.parametrize("stages", [("res2", "res3", "res4", "res5"), ("res4",)])
@pytest.mark.parametrize(("table", "per_block"), [(OFFICIAL, ".net."), (MMACTION2, ".block.")])
def test_names_there_and_back(table, per_block, stages):
    with torch.device("meta"):
        ours = list(build(Network2D(stages=stages), classes=2).state_dict())
    theirs = to_theirs(ours, table)
    assert len(set(theirs.values())) == len(ours)
    assert list(to_ours(theirs.values(), table).values()) == ours
    # Wrapped are the blocks that have a TAM, and no others.
    wrapped = {re.search(r"layer(\d)", name)[1] for name in theirs.values() if per_block in name}
    assert wrapped == {str(int(stage[3]) - 1) for stage in stages}


def test_tanet_r_is_asked_for_and_only_of_tanets(tmp_path):
    save(tmp_path / "a.pth", official(**SMALL))
    found = convert.read(tmp_path / "a.pth", temporal="tanet-r").checkpoint
    assert found.recipe.model.temporal == "tanet-r"
    assert found.network.backbone.layer1[0].conv2.temporal.order == "tanet-r"
    save(tmp_path / "b.pth", official(**SMALL, wrap="shift"))
    with pytest.raises(ValueError, match="this is a TSM of the published code; only others' TANets"):
        convert.read(tmp_path / "b.pth", temporal="tanet-r")
    with pytest.raises(ValueError, match="published TANets have tam at position b"):
        convert.to_official(found)


@pytest.mark.parametrize(("names", "owner"), [(official, "the published code"), (mmaction2, "mmaction2")])
@pytest.mark.parametrize(("wrap", "temporal"), [("shift", "tsm"), ("none", "none")])
def test_shifted_and_2d_networks(tmp_path, names, owner, wrap, temporal):
    torch.manual_seed(0)
    shapes = names(**SMALL, wrap=wrap)
    state = save(tmp_path / "a.pth", shapes)
    source = convert.read(tmp_path / "a.pth")
    assert source.kind == f"{'TSM' if wrap == 'shift' else '2D network'} of {owner}"
    assert "number of frames: 8 assumed; --frames sets it" in source.notes[0]
    source = convert.read(tmp_path / "a.pth", frames=4)
    assert not any("--frames" in note for note in source.notes)
    # The same weights by another way: in the order in which all of them have their layers.
    network = build(Network2D(backbone="resnet18_w16", temporal=temporal, frames=4), classes=5).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    clips = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(source.checkpoint.network(clips), network(clips))
        same = torch.allclose(source.checkpoint.network(clips.flip(1)), network(clips))
    assert same == (temporal == "none")


def test_a_tsm_with_stages_left_out_and_one_with_blocks_left_out():
    assert seen(official(wrap="shift", plugged="24")).model.stages == ("res3", "res5")
    shapes = official(R101, wrap="shift")
    shapes = {re.sub(r"(\.\d*[13579]\.conv1)\.net", r"\1", name): shape for name, shape in shapes.items()}
    with pytest.raises(
        ValueError, match=r"only some blocks of a stage \(not layer1\.1, layer2\.1, .* more\)"
    ):
        seen(shapes)


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.endswith("_w16")])
def test_all_of_torchvisions_networks(name):
    with torch.device("meta"):
        state = BACKBONES[name](classes=7).state_dict()
    found = recognise(state, temporal="tam", frames=None)
    assert (found.kind, found.classes) == ("2D network of torchvision", 7)
    assert (found.model.backbone, found.model.temporal) == (name, "none")
    assert any("AuxLogits" in note for note in found.notes) == (name == "inception_v3")


@pytest.mark.parametrize("names", [official, mmaction2])
def test_a_tsm_that_shifts_whole_blocks_is_not_read_as_a_2d_network(names):
    shapes = names(R101, wrap="none")
    shapes = {re.sub(r"(layer\d\.\d+)\.", r"\1.net.", name): shape for name, shape in shapes.items()}
    assert any("layer1.0.net.conv1" in name for name in shapes)
    with pytest.raises(ValueError, match="a TSM that shifts whole blocks, which tanet does not support"):
        seen(shapes)


def test_weights_of_tanets_own_without_their_recipe(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2).eval()
    torch.save(network.state_dict(), tmp_path / "state.pth")
    found = convert.read(tmp_path / "state.pth")
    assert found.kind == "TANet of tanet"
    assert_same(found.checkpoint.network.state_dict(), network.state_dict())
    assert (
        convert.read(tmp_path / "state.pth", temporal="tanet-r").checkpoint.recipe.model.temporal == "tanet-r"
    )
    # Of the rest a shift leaves no trace.
    torch.save(
        build(Network2D(backbone="resnet18_w16", temporal="tsm"), classes=400).state_dict(),
        tmp_path / "tsm.pth",
    )
    with pytest.raises(ValueError, match=r"tsm\.pth: tanet weights without a recipe and without TAMs"):
        convert.read(tmp_path / "tsm.pth")


def test_an_imagenet_file_computes_what_its_network_does(tmp_path):
    torch.manual_seed(0)
    plain = BACKBONES["mobilenet_v2"](classes=7).eval()
    torch.save(plain.state_dict(), tmp_path / "mobilenet_v2.pth")
    network = convert.read(tmp_path / "mobilenet_v2.pth", frames=2).checkpoint.network
    clips = torch.randn(1, 2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(clips), plain(clips[0]).mean(0, keepdim=True))


def test_an_imagenet_file_without_classifier_is_for_training(data):
    path = data / "weights" / "mobilenet_v2_imagenet.pth"
    with pytest.raises(
        ValueError, match=r"imagenet\.pth: mobilenet_v2 without a classifier.*--model\.weights"
    ):
        convert.read(path)


def test_missing_and_left_over_weights_are_named_as_the_file_names_them(tmp_path):
    shapes = official(**SMALL)
    shapes["base_model.layer9.0.extra"] = (1,)
    shapes["base_model.layer1.0.net.conv2.weight"] = (1, 2, 3, 3)
    del shapes["base_model.layer4.1.tam.L.3.weight"], shapes["new_fc.bias"]
    save(tmp_path / "a.pth", shapes)
    with pytest.raises(ValueError, match="closest to") as error:
        convert.read(tmp_path / "a.pth")
    assert str(error.value) == (
        f"{tmp_path / 'a.pth'}: closest to a TANet of the published code (resnet18_w16), but "
        "missing: base_model.layer4.1.tam.L.3.weight, new_fc.bias; unexpected: base_model.layer9.0.extra; "
        "of another shape: base_model.layer1.0.net.conv2.weight [1, 2, 3, 3] instead of [16, 16, 3, 3]"
    )
    shapes = {name: shape for name, shape in official(**SMALL).items() if "layer4" not in name}
    with pytest.raises(ValueError, match=r"missing: base_model\.layer4\.0\.bn1\.bias, .* and \d+ more"):
        seen(shapes)


def test_counters_of_batches_may_be_missing(tmp_path):
    shapes = {name: s for name, s in official(**SMALL).items() if not name.endswith("num_batches_tracked")}
    save(tmp_path / "a.pth", shapes)
    assert convert.read(tmp_path / "a.pth").checkpoint.recipe.model.backbone == "resnet18_w16"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"blocks.0.attn.qkv.weight": (3, 3)}, "unknown kind of weights .*; names: blocks.0.attn"),
        ({"module.backbone.blocks.0.weight": (3,)}, "unknown kind of weights"),
        (
            {**official(**SMALL), "base_model.fc.bias": (5,)},
            "several weights for the same parameter: new_fc.bias, base_mod",
        ),
        (
            {k: s for k, s in official(**SMALL).items() if ".L." not in k},
            r"its TAMs have no weight L\.0\.weight",
        ),
    ],
)
def test_unknown_and_unclear_files(shapes, message):
    with pytest.raises(ValueError, match=message):
        seen(shapes)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_nothing_is_executed_and_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": Bomb()}, "zip.pth")
    torch.save({"state_dict": {}, "meta": Bomb()}, "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("zip", "old", "raw"):
        with pytest.raises(ValueError, match=r"^[^\n]*holds an object of \S*open, and tanet [^\n]*$"):
            convert.read(f"{name}.pth")
    assert not (tmp_path / "exploded").exists()

    state = save("own.pth", official(**SMALL), args=argparse.Namespace(lr=0.01))
    with pytest.raises(ValueError, match=r"an object of argparse\.Namespace") as error:
        convert.read("own.pth")
    command = shlex.split(str(error.value).partition("extract its weights: ")[2].rstrip(")"))
    assert command[:2] == ["python", "-c"]
    exec(command[2])
    assert_same(read_weights("weights.pth")[0], state)
    assert convert.read("weights.pth").kind == "TANet of the published code"


def test_damaged_files_are_one_line(tmp_path):
    save(tmp_path / "whole.pth", official(**SMALL))
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in {
        "cut": whole[:-5000],
        "half": whole[:3000],
        "empty": b"",
        "noise": b"\x00\x01no",
    }.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"^[^\n]*cannot be read as weights \([^\n]+\)$"):
            convert.read(tmp_path / f"{name}.pth")
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


def test_frames_change_only_when_asked(ours):
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
def test_frames_change_freely_where_weights_do_not_know_them(tmp_path, temporal, interpolate):
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, temporal=temporal))
    network = build(recipe.model, classes=2).eval()
    path = tmp_path / "own.safetensors"
    checkpoint.save(path, Checkpoint(network, recipe, ("left", "right")))
    source = convert.read(path, frames=16, interpolate=interpolate)
    assert source.notes == ("now for clips of 16 frames, not 4: the weights did not have to change",)
    assert source.checkpoint.recipe.model == dataclasses.replace(recipe.model, frames=16)
    assert_same(source.checkpoint.network.state_dict(), network.state_dict())
    assert source.checkpoint.network(torch.randn(1, 16, 3, 32, 32)).shape == (1, 2)


def others(**fields):
    """A TANet of ResNet-50 without numbers, as tanet keeps it."""
    recipe = dataclasses.replace(TINY, model=Network2D(frames=8, **fields))
    with torch.device("meta"):
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
def test_what_the_published_code_can_not_load_is_not_written_for_it(fields, found):
    with pytest.raises(ValueError, match=rf"kernel 3 and local_kernel 3; this one has {found}$"):
        convert.to_official(others(**fields))
    assert len(convert.to_mmaction2(others(**fields))["state_dict"]) == 544


def test_a_tanet_with_stages_left_out_is_tanets_alone():
    for turn in (convert.to_official, convert.to_mmaction2):
        with pytest.raises(ValueError, match="this one only in res4, res5, which only --to tanet can"):
            turn(others(stages=("res4", "res5")))
        assert len(turn(others(stages=("res5", "res4", "res3", "res2")))["state_dict"]) == 544


def test_what_a_file_for_others_does_not_hold_is_said(tmp_path, monkeypatch):
    # The weights, which have no numbers here, do not matter.
    monkeypatch.setattr(torch, "save", lambda content, file: file.write(b"weights"))
    path = tmp_path / "a.pth"
    lost = f"{path}: this format does not contain class names and recipe; pass them on separately"
    assert convert.write(path, others(), to="official") == (lost,)
    assert convert.write(path, others(), to="mmaction2") == (lost,)
    settings = "alpha=4, adaptive_kernel_size=5, adaptive_convolution_padding=2"
    assert convert.write(path, others(alpha=4, kernel=5), to="mmaction2") == (
        lost,
        f"{path}: mmaction2's config must say tam_cfg=dict({settings})",
    )
    assert convert.write(path, others(beta=8, local_kernel=5), to="mmaction2")[1].endswith(
        "tam_cfg=dict(beta=8, conv1d_kernel_size=5)"
    )


def test_only_others_tanets_can_be_written_for_them(ours, tmp_path):
    found = convert.read(ours[0]).checkpoint
    for to in ("official", "mmaction2"):
        with pytest.raises(ValueError, match="this one has tam at auto of resnet18_w16, which only"):
            convert.write(tmp_path / "a.pth", found, to=to)
    with pytest.raises(ValueError, match=r"a\.pth: the name of a file for tanet must end in \.safetensors"):
        convert.write(tmp_path / "a.pth", found, to="tanet")
    assert not (tmp_path / "a.pth").exists()


def test_command(tmp_path, capsys):
    save(tmp_path / "a.pth", official(**SMALL), epoch=7)
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
    assert (found.recipe.eval, found.recipe.model.frames) == (RECIPES["kinetics400"].eval, 4)
    assert found.info["epoch"] == 7
    c = str(tmp_path / "c.safetensors")
    assert main(["convert", b, c, "--frames", "8", "--change-frames", "interpolate"]) == 0
    assert checkpoint.load(c).recipe.model.frames == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "8"], "--change-frames interpolate adapts its weights"),
        (["--change-frames", "interpolate"], "--change-frames needs the number of frames: add --frames"),
        (["--class-names", "NAMES"], "5 classes, but 1 names for them"),
        (["--recipe", "kinetic"], "unknown recipe 'kinetic': choose from finetune"),
        (["--to", "official"], "b.safetensors: the name of a file for official must end in .pth"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(flags, message, tmp_path, capsys):
    save(tmp_path / "a.pth", official(**SMALL))
    (tmp_path / "names.txt").write_text("only\n")
    flags = [str(tmp_path / "names.txt") if flag == "NAMES" else flag for flag in flags]
    assert main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors"), *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert not (tmp_path / "b.safetensors").exists()


def test_the_file_that_is_read_is_not_overwritten(ours, capsys):
    before = ours[0].read_bytes()
    assert main(["convert", str(ours[0]), str(ours[0])]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert ours[0].read_bytes() == before


def test_the_examples_of_the_help_are_lines_of_their_own(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in shown if line.startswith("  tanet convert ")] == [
        "ckpt.best.pth.tar",
        "mine.safetensors",
        "8f.safetensors",
    ]
