"""Image weights and parts of networks start other networks: what is copied, what stays, what is refused."""

import dataclasses

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.image_weights import image_model, load_backbone_weights, load_image_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes import RECIPES
from tanet.recipes.network2d import Network2D
from tanet.recipes.networks3d import ResNet3D
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tests.support.tiny_videos import TINY


def saved(path, state):
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def bn_inception():
    torch.manual_seed(0)
    return BACKBONES["bn_inception"](classes=3).state_dict()


def flat(state):
    """Return weights of BN-Inception as Cadene names them: inception_3a_1x1, last_linear, norms of [1, C]."""
    found = {}
    for name, tensor in state.items():
        if name.startswith("inception_"):
            name = f"{name[:12]}_{name[13:]}"
        wide = "_bn." in name and tensor.ndim == 1
        found[name.replace("fc.", "last_linear.")] = tensor[None] if wide else tensor
    return found


def test_cadenes_bn_inception_starts_tsn_and_eco(bn_inception, tmp_path):
    path = saved(tmp_path / "bn.pth", flat(bn_inception))
    network = build(Network2D(backbone="bn_inception", temporal="tam", frames=2), classes=5)
    load_backbone_weights(network.backbone, path)
    own = network.backbone.state_dict()
    assert torch.equal(own["inception_5b.pool_proj.weight"], bn_inception["inception_5b.pool_proj.weight"])
    model = ECO(frames=4)
    eco = build(model, classes=5)
    before = eco.res3[0].conv2.weight.clone()
    load_image_weights(eco, path, model=model)
    name = "inception_3c.double_3x3_1_bn.running_mean"
    assert torch.equal(eco.layers2d.state_dict()[name], bn_inception[name])
    assert torch.equal(eco.res3[0].conv2.weight, before)
    assert image_model(path, model, backbone="bn_inception").weights == str(path)
    with pytest.raises(UserError, match="do not fit ECO-Lite: bn_inception does"):
        image_model(path, model, backbone="resnet50")


@pytest.mark.parametrize("temporal", ["gst", "stm"])
def test_modules_around_a_convolution_get_its_weights(temporal, tmp_path):
    torch.manual_seed(0)
    plain = BACKBONES["resnet18_w16"](classes=3)
    path = saved(tmp_path / "w.pth", plain.state_dict())
    network = build(Network2D(backbone="resnet18_w16", temporal=temporal, frames=2), classes=3)
    load_backbone_weights(network.backbone, path)
    found, weight = network.backbone.layer2[0].conv2.space.weight, plain.layer2[0].conv2.weight
    assert torch.equal(found, weight[: found.shape[0], : found.shape[1]])
    assert found.shape[:2] == ((24, 16) if temporal == "gst" else (32, 32))
    assert torch.equal(network.backbone.layer2[0].conv1.weight, plain.layer2[0].conv1.weight)


def test_big_little_resnet_starts_blvnet(tmp_path):
    torch.manual_seed(0)
    image = BACKBONES["blresnet50"](classes=3)
    path = saved(
        tmp_path / "bl.pth.tar", {"state_dict": {f"module.{k}": v for k, v in image.state_dict().items()}}
    )
    network = build(BLVNet(frames=2), classes=2)
    load_image_weights(network, path, model=BLVNet(frames=2))
    assert torch.equal(network.layer3.little[0].conv2.weight, image.layer3.little[0].conv2.weight)
    assert network.temporal.weight[:, 1].eq(1).all()  # the temporal modules keep their initial weights
    with pytest.raises(
        UserError, match=r"the weights of blresnet50 do not fit CPNet-18: those of resnet18 do"
    ):
        load_image_weights(build(CPNet(depth=18), classes=2), path, model=CPNet(depth=18))


def test_resnet_starts_cpnet_with_biases_of_zero(tmp_path):
    torch.manual_seed(0)
    image = BACKBONES["resnet18"](classes=3)
    model = CPNet(depth=18, frames=2)
    network = build(model, classes=2)
    torch.nn.init.ones_(network.res3[0].conv1.conv.bias)
    load_image_weights(network, saved(tmp_path / "r.pth", image.state_dict()), model=model)
    assert torch.equal(network.res3[0].shortcut.conv.weight, image.layer2[0].downsample[0].weight)
    assert torch.equal(network.res4[1].conv2.bn.weight, image.layer3[1].bn2.weight)
    assert not network.res3[0].conv1.conv.bias.any()


def keep(path, model):
    """Save a network with random weights as a checkpoint; return the path and the network."""
    torch.manual_seed(1)
    network = build(model, classes=2)
    recipe = dataclasses.replace(TINY, model=model)
    checkpoint.save(path, Checkpoint(network, recipe, ("a", "b")))
    return path, network


def test_parts_of_eco_start_eco(tmp_path):
    c3d_path, c3d = keep(tmp_path / "c3d.safetensors", ECO(frames=4, variant="c3d"))
    model = ECO(frames=4)
    lite = build(model, classes=2)
    note = load_initial_weights(lite, c3d_path, model=model, classes=("a", "b"))
    assert "starts from 3D ResNet-18 of ECO" in note[0]
    # c3d's res3a_2 has 128 input channels; ECO takes the first 96.
    assert torch.equal(lite.res3[0].conv2.weight, c3d.res3[0].conv2.weight[:, :96])
    assert torch.equal(lite.res5[1].norm.weight, c3d.res5[1].norm.weight)
    assert RECIPES["eco-lite"].model.weights == ""
    dataclasses.replace(RECIPES["eco-lite"], model=dataclasses.replace(model, weights="a", init="b"))


def test_i3d_starts_the_graph_of_regions(tmp_path):
    i3d = ResNet3D(
        frames=4,
        width=8,
        temporal_blocks=("all", "even", "even", "odd"),
        stem_kernel=5,
        pool2="3x1x1",
        res5_stride=1,
        head_window=14,
    )
    path, network = keep(tmp_path / "i3d.safetensors", i3d)
    model = RegionGraphNet(frames=4, width=8, features=8, non_local=False)
    graph = build(model, classes=2)
    before = graph.reduce.weight.clone()
    notes = load_initial_weights(graph, path, model=model, classes=("a", "b"))
    assert "the I3D in this network starts from it" in notes[0]
    assert torch.equal(graph.video.res4[2].conv1.weight, network.res4[2].conv1.weight)
    assert torch.equal(graph.reduce.weight, before)
    with pytest.raises(UserError, match="another kind of network"):
        load_initial_weights(build(CPNet(width=8), classes=2), path, model=CPNet(width=8), classes=("a", "b"))
