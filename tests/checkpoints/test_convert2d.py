"""Converted 2D and hybrid networks give the logits of their own codebases, and go there and back."""

import dataclasses
import re

import pytest
import torch

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.read import recognise_file
from tanet.checkpoints.convert.read_arguments import check_given
from tanet.checkpoints.convert.recognise import recognise
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.checkpoints.weights import WeightsFile
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.heads import combination
from tanet.models.meta import on_meta
from tanet.models.video_backbones.cpnet import CorrespondenceProposal, CPNetwork
from tanet.recipes.input_spec import IMAGENET, TSN
from tanet.recipes.network2d import Network2D
from tanet.recipes.networks_hybrid import CPNet
from tests.support.golden2d import (
    CLIPS,
    SIBLINGS,
    key_list,
    key_lists,
    logits_of,
    peer_input,
    peer_weights,
    relative_error,
)
from tests.support.tiny_videos import TINY


@pytest.mark.parametrize("name", [name for name in CLIPS if name not in SIBLINGS])
def test_a_converted_network_gives_the_logits_of_its_codebase(name):
    assert relative_error(name) < 1e-5


def expected_settings():
    """Return fixture → settings that its weights show, for key lists without logits."""
    return {
        "biglittle-blresnet101-a2-b4-1000": {"backbone": "blresnet101"},
        "blvnet_tam-101-a2-b4-f8x2-174": {"depth": 101},
        "blvnet_tam-50-a2-b4-f24x2-400": {"depth": 50},
        "eco_pytorch-ecofull-400": {"variant": "full"},
        "gst_video-gst_large-a4-b1-8f": {"temporal": "gst", "gst_groups": 1, "gst_share": 4},
        "ibm_ar-tsn-r50-8f-400": {"backbone": "resnet50", "temporal": "none"},
        "mmaction2-trn-r50-8f-174": {"consensus": "trn-multiscale", "frames": 8, "backbone": "resnet50"},
        "trn_pytorch-bninception-trn8": {"consensus": "trn", "frames": 8},
        "trn_pytorch-inceptionv3-trnmultiscale8": {
            "consensus": "trn-multiscale",
            "backbone": "inception_v3_cuhk",
        },
        "tsm-resnet101-8f-400": {"temporal": "tsm", "blocks": "alternate"},
        "tsm-resnet50-nl-8f-400": {"temporal": "tsm", "non_local": "softmax"},
        "tsn_pytorch-bninception-174": {"backbone": "bn_inception", "consensus": "mean"},
        "tsn_pytorch-bninception-flow": {"backbone": "bn_inception", "flows": 5},
        "tsn_pytorch-resnet50": {"backbone": "resnet50", "temporal": "none"},
    }


@pytest.mark.parametrize("name", expected_settings())
def test_key_lists_of_other_networks_are_recognised(name):
    state = {key: torch.empty(shape, device="meta") for key, shape in key_list(name).items()}
    found = recognise3d(state, {}) or recognise(state, temporal=None, frames=8)
    settings = expected_settings()[name]
    assert {field: getattr(found.model, field) for field in settings} == settings


def test_every_key_list_is_tested():
    tested = {name.removesuffix("-w0.02") for name in CLIPS} | set(expected_settings())
    lists = {name for name in key_lists() if not name.startswith("own_")}
    assert {name for name in lists if name not in tested} == {
        "blvnet_tam-50-a2-b4-f16x2-174",  # the weights of f8x2
        "eco_pytorch-ecofull-174",
        "eco_pytorch-ecolite-174",
        "tsm-bninception-blockres-8f-174",
    }


def test_batch_norms_of_bn_inception_may_have_a_first_dimension_of_one():
    # bn_inception-52deb4733.pth
    state = {key: torch.empty(shape, device="meta") for key, shape in key_list("cadene-bninception").items()}
    wide = {
        key: tensor[None] if "_bn." in key and tensor.ndim == 1 else tensor for key, tensor in state.items()
    }
    assert (
        recognise(wide, temporal=None, frames=8).state.keys()
        == recognise(state, temporal=None, frames=8).state.keys()
    )


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tsm-resnet50-nl-8f-400", "official"),
        ("trn_pytorch-bninception-trnmultiscale8", "official"),
        ("trn_pytorch-bninception-trn3", "official"),
        ("mmaction2-trn-r50-8f-174", "mmaction2"),
        ("mmaction2-tsm-r50-nl-gaussian-8f-400", "mmaction2"),
    ],
)
def test_there_and_back_all_tensors_are_equal(name, target):
    generator = torch.Generator().manual_seed(0)
    theirs = {
        key: torch.rand(shape, generator=generator) if shape else torch.tensor(0)
        for key, shape in key_list(name).items()
    }
    found = recognise(theirs, temporal=None, frames=8)
    network = build(found.model, classes=found.classes)
    network.load_state_dict(found.state)
    recipe = dataclasses.replace(TINY, model=found.model)
    ours = Checkpoint(network, recipe, tuple(map(str, range(found.classes))))
    written = convert.to_official(ours) if target == "official" else convert.to_mmaction2(ours)
    back = {key.removeprefix("module."): tensor for key, tensor in written["state_dict"].items()}
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


def test_bias_of_non_local_blocks_is_folded_for_mmaction2():
    torch.manual_seed(0)
    model = Network2D(backbone="resnet50", temporal="tsm", frames=2, non_local="softmax", stages=("res4",))
    network = build(model, classes=2).eval()
    for name, tensor in network.state_dict().items():
        if ".temporal." in name and tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.1, 0.5)
    recipe = dataclasses.replace(TINY, model=model)
    written = convert.to_mmaction2(Checkpoint(network, recipe, ("a", "b")))["state_dict"]
    found = recognise(written, temporal=None, frames=2)
    again = build(found.model, classes=2).eval()
    again.load_state_dict(found.state)
    clips = torch.randn(1, 2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(again(clips), network(clips))


@pytest.mark.parametrize("target", ["official", "mmaction2"])
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
def test_written_tsm_is_read_as_the_same_network(backbone, target):
    blocks = "shortcut" if backbone == "mobilenet_v2" else "all"
    model = Network2D(backbone=backbone, temporal="tsm", blocks=blocks)
    with on_meta():
        ours = Checkpoint(build(model, classes=2), dataclasses.replace(TINY, model=model), ("a", "b"))
    written = convert.to_official(ours) if target == "official" else convert.to_mmaction2(ours)
    state = {name.removeprefix("module."): tensor for name, tensor in written["state_dict"].items()}
    assert recognise(state, temporal=None, frames=8).model == model


@pytest.mark.parametrize(
    ("fields", "target", "cause"),
    [
        ({"temporal": "gst"}, "mmaction2", "published TANets have tam"),
        ({"temporal": "tsm", "position": "b"}, "official", "shift at position a, this one at b"),
        ({"temporal": "tsm", "non_local": "dot"}, "official", "non-local blocks of the kind softmax"),
        (
            {"temporal": "none", "backbone": "shufflenet_v2_x1_0"},
            "mmaction2",
            "this one has shufflenet_v2_x1_0",
        ),
        ({"non_local": "softmax"}, "official", "published TANets have no non-local blocks"),
        ({"static_kernel": "shift"}, "mmaction2", "published TANets have no static kernel"),
        ({"temporal": "none", "backbone": "bn_inception"}, "mmaction2", "this one has bn_inception"),
    ],
)
def test_networks_that_other_projects_lack_are_not_written(fields, target, cause):
    model = Network2D(**fields)
    with on_meta():
        ours = Checkpoint(build(model, classes=2), dataclasses.replace(TINY, model=model), ("a", "b"))
    turn = convert.to_official if target == "official" else convert.to_mmaction2
    with pytest.raises(UserError, match=cause):
        turn(ours)


def test_convert_command_reads_trn_and_tells_what_it_assumed(tmp_path, capsys):
    name = "trn_pytorch-bninception-trn3"
    state = {f"module.{key}": tensor for key, tensor in peer_weights(name).items()}
    torch.save({"epoch": 1, "arch": "BNInception", "state_dict": state}, tmp_path / "trn.pth.tar")
    out = tmp_path / "trn.safetensors"
    assert main(["convert", str(tmp_path / "trn.pth.tar"), str(out)]) == 0
    told = re.sub(r"\s+", " ", "".join(capsys.readouterr()))
    assert "TRN of the published code, bn_inception, 174 classes" in told
    assert "mean 104, 117, 128 and std 1, 1, 1 of BGR values from 0 to 255" in told
    assert convert.read(out).checkpoint.network.input_spec.mean == TSN.mean
    # TRN's weights fit one number of frames.
    assert main(["convert", str(out), str(tmp_path / "b.safetensors"), "--frames", "5"]) == 2
    assert "TRN relates each frame in its place" in capsys.readouterr().err
    flags = ["--normalisation", "caffe"]
    assert main(["convert", str(tmp_path / "trn.pth.tar"), str(tmp_path / "c.safetensors"), *flags]) == 0
    assert convert.read(tmp_path / "c.safetensors").checkpoint.network.input_spec.mean == (104, 117, 123)


def test_attention_of_mmaction2_comes_from_the_config_in_the_file():
    name = "mmaction2-tsm-r50-nl-dot_product-8f-400"
    state = {key: torch.empty(shape, device="meta") for key, shape in key_list(name).items()}
    config = "clip_len=1, frame_interval=1, num_clips=8\nnon_local_cfg=dict(mode='dot_product')"
    found = recognise_file("nl.pth", WeightsFile(state, {"meta": {"config": config}}))
    assert found.model.non_local == "dot"
    assert not any("weigh positions" in note for note in found.notes)
    found = recognise_file("nl.pth", WeightsFile(state, {}))
    assert found.model.non_local == "softmax"
    assert any("weigh positions" in note for note in found.notes)


def test_arguments_that_do_not_fit_the_network_are_refused():
    given = {"temporal": None, "shift_div": None, "network": None, "normalisation": None}
    with pytest.raises(UserError, match=r"^a\.pth is a TSM; attention is only for non-local blocks"):
        check_given("a.pth is a TSM", Network2D(temporal="tsm"), own=False, **given, attention="dot")


def test_dense_temporal_aggregation_is_refused_by_names_in_file():
    state = {key: torch.empty(shape) for key, shape in key_list("ibm_ar-tam-r50-8f-174").items()}
    state["layer1.0.tam.prev_se.fc1.weight"] = torch.empty(64, 64, 1, 1)
    with pytest.raises(UserError, match=r"layer1\.0\.tam\.prev_se\.fc1\.weight"):
        recognise(state, temporal=None, frames=8)


def cpnet_weights():
    """Return the weights of the CPNet fixture with our names."""
    found = {}
    for name, tensor in peer_weights("own_cpnet-resnet34-4f-174").items():
        name = re.sub(r"^conv0\.", "stem.", name)
        name = re.sub(r"^group(\d)\.block(\d+)\.", lambda m: f"res{int(m[1]) + 2}.{m[2]}.", name)
        name = name.replace("convshortcut", "shortcut").replace("pointnet", "temporal")
        found[re.sub(r"^fc\.", "head.", name)] = tensor
    return found


def test_cpnet_gives_the_logits_of_its_fixture():
    network = CPNetwork(CPNet(frames=4), classes=174, input_spec=IMAGENET).eval()
    network.load_state_dict(cpnet_weights())
    with torch.inference_mode():
        logits = network(peer_input("own_cpnet-resnet34-4f-174"))
    expected = logits_of("own_cpnet-resnet34-4f-174")
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("shrink", [False, True])
def test_correspondence_module_gives_the_output_of_its_fixture(shrink):
    name = f"own_cpnet-cpmodule-c16-k8{'-shrink2' * shrink}-T4"
    module = CorrespondenceProposal(16, frames=4, neighbours=8, shrink=shrink).eval()
    module.load_state_dict(peer_weights(name))
    with torch.inference_mode():
        torch.testing.assert_close(module(peer_input(name)), logits_of(name), rtol=1e-5, atol=1e-5)


def test_subsets_are_numbered_as_itertools_orders_them():
    assert [combination(5, 3, number) for number in (0, 4, 9)] == [[0, 1, 2], [0, 2, 4], [2, 3, 4]]
