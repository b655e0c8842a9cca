"""Files of other projects are recognised as the network that they hold, or refused with the true cause."""

import dataclasses
import re

import pytest
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.convert.recognise import recognise
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.models.temporal.temporal_shift import TemporalShift
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.recipe import Network2D, from_dict, to_dict
from tests.support.other_codebases import (
    mmaction2,
    mobilenet_v2,
    mobilenet_v2_logits,
    official,
    small_tsm_logits,
    weights,
)
from tests.support.start_files import model_from_file
from tests.support.tiny_videos import TINY, make_folders

SMALL = {"depths": (2, 2, 2, 2), "width": 16, "basic": True}
CODEBASES = {"official": official, "mmaction2": mmaction2}


def recognise_shapes(shapes):
    return recognise(weights(shapes, device="meta"), temporal="tam", frames=None)


def save(path, state, **beside):
    torch.save({"state_dict": state, **beside}, path)
    return path


@pytest.fixture
def tsm(tmp_path):
    """Write a narrow TSM under the published names. Return its path and its weights."""
    torch.manual_seed(0)
    state = weights(official(**SMALL, wrap="shift"))
    return save(tmp_path / "tsm.pth", state), state


def assert_logits(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(("shift_div", "div"), [(None, 8), (8, 8), (4, 4), (2, 2)])
def test_shift_div_is_a_flag_and_its_assumption_is_told(tsm, shift_div, div):
    path, state = tsm
    source = convert.read(path, frames=4, shift_div=shift_div)
    clips = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        found = source.checkpoint.network(clips)
    assert_logits(found, small_tsm_logits(state, clips, div=div))
    other = small_tsm_logits(state, clips, div=3)
    assert (found - other).abs().max() > 1e-2 * other.abs().max()
    assert source.checkpoint.recipe.model.shift_div == div
    told = [note for note in source.notes if "1/8 each way assumed" in note and "--shift-div" in note]
    assert len(told) == (shift_div is None)


def test_shift_div_is_read_from_config_in_mmaction2_file(tmp_path):
    state = weights(mmaction2(**SMALL, wrap="shift"))
    config = (
        "model = dict(\n    backbone=dict(type='ResNetTSM', shift_div=4),\n    cls_head=dict(type='TSMHead'))"
    )
    path = save(tmp_path / "tsm.pth", state, meta={"cfg": config, "epoch": 3})
    source = convert.read(path)
    assert source.checkpoint.recipe.model.shift_div == 4
    assert any("1/4 of the channels" in note and "config in the file" in note for note in source.notes)
    assert convert.read(path, shift_div=16).checkpoint.recipe.model.shift_div == 16
    assert model_from_file(path, FINETUNE.model).shift_div == 4


def test_shift_div_is_refused_for_other_networks(tmp_path):
    path = save(tmp_path / "tanet.pth", weights(official(**SMALL)))
    with pytest.raises(UserError, match="is a TANet of the published code; shift_div is only for a TSM"):
        convert.read(path, shift_div=4)
    convert.write(tmp_path / "ours.safetensors", convert.read(path).checkpoint, to="tanet")
    with pytest.raises(UserError, match="is a checkpoint of tanet; shift_div is only for a TSM"):
        convert.read(tmp_path / "ours.safetensors", shift_div=4)


def test_shift_div_flag_of_command_is_kept_in_the_checkpoint(tsm, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    flags = ["convert", str(tsm[0]), str(out), "--frames", "4", "--class-names", str(tmp_path / "names.txt")]
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    assert main(flags) == 0
    assert "1/8 each way assumed, as in most published TSMs; --shift-div sets it" in capsys.readouterr().err
    assert main([*flags, "--shift-div", "4"]) == 0
    assert "assumed" not in capsys.readouterr().err
    loaded = checkpoint.load(out)
    assert loaded.recipe.model.shift_div == 4
    shifts = [module for module in loaded.network.modules() if isinstance(module, TemporalShift)]
    assert {module.divisor for module in shifts} == {4}
    assert main([*flags, "--shift-div", "1"]) == 2
    assert "model.shift_div must be at least 2, not 1" in capsys.readouterr().err


def test_recipe_without_shift_div_and_blocks_has_their_defaults():
    values = to_dict(TINY)
    del values["model"]["shift_div"], values["model"]["blocks"]
    assert from_dict(values) == TINY
    assert (TINY.model.shift_div, TINY.model.blocks) == (8, "all")


def test_shift_of_no_channel_and_missing_shortcuts_are_refused():
    with pytest.raises(UserError, match="shift_div 32 shifts none of the 16 channels of layer1"):
        build(Network2D(backbone="resnet18_w16", temporal="tsm", shift_div=32), classes=2)
    with pytest.raises(UserError, match=r"inception_v3 has no block with a shortcut in res2, .*blocks all"):
        build(Network2D(backbone="inception_v3", temporal="tsm", blocks="shortcut"), classes=2)


@pytest.mark.parametrize("owner", ["official", "mmaction2"])
@pytest.mark.parametrize("shift", [True, False])
def test_mobilenet_v2_is_converted(owner, shift, tmp_path):
    torch.manual_seed(0)
    published = weights(mobilenet_v2("official", shift=shift), prefix="module.")
    shapes = mobilenet_v2(owner, shift=shift)
    # The same weights under the names of the project.
    state = dict(zip(shapes, published.values(), strict=True))
    source = convert.read(save(tmp_path / "a.pth", state), frames=4)
    project = "the published code" if owner == "official" else owner
    assert source.kind == f"{'TSM' if shift else '2D network'} of {project}"
    model = source.checkpoint.recipe.model
    expected = ("mobilenet_v2", "tsm", "shortcut") if shift else ("mobilenet_v2", "none", "all")
    assert (model.backbone, model.temporal, model.blocks) == expected
    shifts = [m for m in source.checkpoint.network.modules() if isinstance(m, TemporalShift)]
    assert len(shifts) == (10 if shift else 0)
    clips = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        found = source.checkpoint.network(clips)
    plain = {name.removeprefix("module."): tensor for name, tensor in published.items()}
    assert_logits(found, mobilenet_v2_logits(plain, clips))
    if shift:  # a shift in all 16 blocks, as tanet trains it, is another network
        wide = build(dataclasses.replace(model, blocks="all"), classes=5).eval()
        wide.load_state_dict(source.checkpoint.network.state_dict())
        with torch.no_grad():
            assert (wide(clips) - found).abs().max() > 1e-2 * found.abs().max()


def test_mobilenet_v2_without_dropout_is_converted():
    shapes = {
        name.replace("new_fc", "base_model.classifier"): s for name, s in mobilenet_v2("official").items()
    }
    assert recognise_shapes(shapes).kind == "TSM of the published code"


@pytest.mark.parametrize("owner", ["official", "mmaction2"])
def test_wrong_weights_of_mobilenet_v2_are_reported_by_names_in_file(owner):
    shapes = mobilenet_v2(owner)
    lost = [name for name in shapes if re.search(r"\.5\.conv\.3\.weight|layer3\.1\.conv\.1\.conv", name)]
    del shapes[lost[0]]
    with pytest.raises(UserError, match=rf"\(mobilenet_v2\), but not equal; missing: {re.escape(lost[0])};"):
        recognise_shapes(shapes)


@pytest.mark.parametrize("owner", CODEBASES)
def test_temporal_pool_is_the_cause_of_refusal(owner):
    # Both projects wrap layer2 as a whole, so the names show the pool.
    shapes = CODEBASES[owner](**SMALL, wrap="shift")
    shapes = {re.sub(r"layer2\.(\d)", r"layer2.net.\1", name): shape for name, shape in shapes.items()}
    with pytest.raises(
        UserError, match=r"^a TSM that halves .* before layer2 \(temporal pool\), which tanet"
    ):
        recognise_shapes(shapes)


def test_tsm_as_start_of_training_assumes_the_shift_div_of_the_training(tsm):
    model = dataclasses.replace(model_from_file(tsm[0], FINETUNE.model), shift_div=4)
    notes = load_initial_weights(build(model, classes=2), tsm[0], model=model, classes=("x", "y"))
    assert f"{tsm[0]}: the file does not show model.shift_div: 4 assumed" in notes
    assert not any("trained with shift_div" in note for note in notes)


def test_other_shift_div_than_in_checkpoint_of_tanet_is_told(tmp_path):
    trained = Network2D(backbone="resnet18_w16", temporal="tsm", shift_div=4)
    recipe = dataclasses.replace(TINY, model=trained)
    path = tmp_path / "trained.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(build(trained, classes=2), recipe, ("a", "b")))
    model = dataclasses.replace(trained, shift_div=8)
    notes = load_initial_weights(build(model, classes=2), path, model=model, classes=("a", "b"))
    assert notes == [f"{path}: trained with shift_div 4, now 8"]


@pytest.mark.parametrize(
    ("flag", "cause"),
    [
        (("--model.backbone", "resnet34"), "the file has backbone resnet18_w16, model.backbone is resnet34"),
        (("--model.temporal", "tam"), "the file has temporal tsm, model.temporal is tam"),
    ],
)
def test_init_of_another_network_is_told_in_one_line(flag, cause, tmp_path, tsm, capsys):
    videos = make_folders(tmp_path / "videos")
    flags = ["train", "finetune", "--data.root", str(videos), "--init", str(tsm[0]), "--device", "cpu"]
    assert main([*flags, "--data.workers", "0", "--out", str(tmp_path / "out"), *flag]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"tsm.pth: the weights do not fit this network: {cause}; leave out {flag[0]}" in last
    assert "missing" not in last


def test_image_weights_of_another_network_are_told_in_one_line(tmp_path):
    torch.save(BACKBONES["resnet18"]().state_dict(), tmp_path / "w.pth")
    backbone = build(Network2D(backbone="resnet34", temporal="tam"), classes=2).backbone
    with pytest.raises(
        UserError, match=r"w\.pth: .*the file has backbone resnet18, model\.backbone is resnet34"
    ):
        load_backbone_weights(backbone, tmp_path / "w.pth")
