"""Networks for optical flow have the published sizes, and start from RGB weights as TSN's code does."""

import dataclasses

import pytest
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.recognise3d import recognise3d
from tanet.checkpoints.image_weights import load_image_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.errors import UserError
from tanet.models.architectures import ARCHITECTURES
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build, create_model
from tanet.models.meta import on_meta
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes import RECIPES
from tanet.recipes.input_spec import FLOW, FLOW_I3D, FLOW_MMACTION2, FLOW_TSN, IMAGENET
from tanet.recipes.network2d import Network2D
from tanet.recipes.networks3d import InceptionI3D
from tanet.training.optimizer import param_groups
from tests.support import golden2d
from tests.support.tiny_videos import TINY

RGB = Network2D(backbone="resnet18_w16", temporal="tsm", frames=2, dropout=0.0)
ON_FLOW = dataclasses.replace(RGB, flows=5)


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "operations"),
    [
        ("tsn-flow-bn-inception", 174, 10_470_542, 3 * 2.307),
        ("tsn-flow-bn-inception", 400, 10_702_192, 3 * 2.307),
        ("tsm-flow-resnet50", 174, 23_886_510, 34.903),
        ("tsm-flow-resnet50", 400, 24_349_584, 34.907),
    ],
)
def test_sizes_are_those_of_the_published_networks(name, classes, parameters, operations):
    cost = count_cost(build_on_meta(ARCHITECTURES[name].settings, classes=classes), size=224).total
    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(operations, abs=2e-3)


def test_networks_say_which_flow_they_take():
    assert create_model("tsm-flow-resnet50", classes=2).input_spec == FLOW
    assert (
        build(Network2D(backbone="bn_inception", temporal="none", flows=5), classes=2).input_spec == FLOW_TSN
    )
    with on_meta():
        network = build(InceptionI3D(flows=1), classes=2)
    assert (network.channels, network.input_spec) == (2, FLOW_I3D)
    with pytest.raises(UserError, match="takes optical flow, but its input specification is for rgb"):
        build(ON_FLOW, classes=2, input_spec=IMAGENET)
    with pytest.raises(ValueError, match=r"expected clips \[B, 2, 10, H, W\]"):
        build(ON_FLOW, classes=2)(torch.zeros(1, 2, 3, 32, 32))


def test_image_weights_start_flow_with_their_mean_over_colours(tmp_path):
    torch.manual_seed(0)
    state = BACKBONES["resnet18_w16"]().state_dict()
    torch.save(state, tmp_path / "image.pth")
    network = build(ON_FLOW, classes=2)
    load_image_weights(network, tmp_path / "image.pth", model=ON_FLOW)
    kernel = network.state_dict()["backbone.conv1.weight"]
    assert kernel.shape == (16, 10, 7, 7)
    mean = state["conv1.weight"].mean(1)
    assert all(torch.allclose(kernel[:, channel], mean) for channel in range(10))
    assert torch.equal(network.state_dict()["backbone.layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    # Grey pictures give the same maps, up to the factor 10 / 3: the kernels are not scaled.
    images = torch.rand(1, 1, 32, 32)
    ours = network.get_submodule("backbone.conv1")(images.expand(-1, 10, -1, -1))
    theirs = torch.nn.functional.conv2d(images.expand(-1, 3, -1, -1), state["conv1.weight"], None, 2, 3)
    assert torch.allclose(ours, theirs * 10 / 3, atol=1e-5)


def test_checkpoint_of_rgb_frames_starts_flow_but_not_vice_versa(tmp_path):
    rgb, flow = build(RGB, classes=2), build(ON_FLOW, classes=2)
    for name, network, model in (("rgb", rgb, RGB), ("flow", flow, ON_FLOW)):
        recipe = dataclasses.replace(TINY, model=model)
        checkpoint.save(tmp_path / name, Checkpoint(network, recipe, ("a", "b")))
    notes = load_initial_weights(flow, tmp_path / "rgb", model=ON_FLOW, classes=("a", "b"))
    assert any("the first kernels start as the mean over their channels" in note for note in notes)
    assert flow.input_spec == FLOW
    assert torch.allclose(
        flow.state_dict()["backbone.conv1.weight"][:, 7], rgb.state_dict()["backbone.conv1.weight"].mean(1)
    )
    with pytest.raises(UserError, match="trained on optical flow, so it cannot start a network for RGB"):
        load_initial_weights(rgb, tmp_path / "flow", model=RGB, classes=("a", "b"))
    assert checkpoint.load(tmp_path / "flow").network.channels == 10
    fewer = dataclasses.replace(RGB, flows=3)
    with pytest.raises(UserError, match=r"trained with --model\.flows 5: give the same number"):
        load_initial_weights(build(fewer, classes=2), tmp_path / "flow", model=fewer, classes=("a", "b"))


def test_first_convolution_of_flow_recipes_learns_faster():
    # TSN's code: 5 times for the kernels, 10 times for the biases; 1 and 2 times elsewhere.
    with on_meta():
        network = build(RECIPES["tsn-flow-bn-inception"].model, classes=2)
    names = {parameter: name for name, parameter in network.named_parameters()}
    scales = {
        names[parameter]: group["lr_scale"]
        for group in param_groups(network, RECIPES["tsn-flow-bn-inception"].optim)
        for parameter in group["params"]
    }
    assert scales["backbone.conv1_7x7_s2.weight"] == 5
    assert scales["backbone.conv1_7x7_s2.bias"] == 10
    others = {name: scale for name, scale in scales.items() if "conv1_7x7_s2." not in name}
    assert set(others.values()) == {1, 2}
    assert RECIPES["tsm-flow-something-v2"].optim.first_conv_lr_scale == 5


@pytest.mark.parametrize(
    ("name", "spec"), [("mmaction2-tsn-r50-flow-400", FLOW_MMACTION2), ("tsm-resnet50-flow-8f-174", FLOW)]
)
def test_converted_flow_networks_are_normalised_as_in_their_codebase(name, spec, tmp_path):
    torch.save({"state_dict": golden2d.peer_weights(name)}, tmp_path / "theirs.pth")
    found = convert.read(tmp_path / "theirs.pth")
    assert found.checkpoint.network.input_spec == spec
    assert found.checkpoint.recipe.model.flows_per_frame == 5
    assert any("optical flow: mean" in note for note in found.notes)
    with pytest.raises(UserError, match="the network takes flow, and normalisation half does not fit"):
        convert.read(tmp_path / "theirs.pth", normalisation="half")


def test_i3d_of_flow_is_recognised():
    # pytorch-i3d's names; its classifier is a convolution
    model = InceptionI3D(flows=1)
    with on_meta():
        ours = build(model, classes=400).state_dict()
    theirs = {}
    for name, tensor in ours.items():
        new = name.replace(".conv.", ".conv3d.").replace(".norm.", ".bn.").replace("head.", "logits.conv3d.")
        theirs[new] = tensor[..., None, None, None] if name == "head.weight" else tensor
    found = recognise3d(theirs, {})
    assert found is not None
    assert found.model == dataclasses.replace(model, dropout=found.model.dropout)
    assert (found.input_spec.channels, found.input_spec.range) == ("flow", (-1.0, 1.0))
