"""`plug` inserts modules into every backbone at every position and keeps the state dict of the 2D network."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tanet import TAM, plug
from tanet.models.backbones2d import BACKBONES
from tanet.models.insertion.sites import find_sites
from tanet.models.meta import on_meta

SITES = {  # number of blocks in res2, res3, res4, res5
    "resnet18": [2, 2, 2, 2],
    "resnet18_w16": [2, 2, 2, 2],
    "resnet34": [3, 4, 6, 3],
    "resnet50": [3, 4, 6, 3],
    "resnet101": [3, 4, 23, 3],
    "resnet152": [3, 8, 36, 3],
    "resnext50_32x4d": [3, 4, 6, 3],
    "mobilenet_v2": [2, 3, 7, 4],
    "shufflenet_v2_x1_0": [0, 4, 8, 4],
    "inception_v3": [0, 6, 9, 6],
    "inception_v3_cuhk": [0, 6, 9, 6],
    "bn_inception": [0, 4, 10, 6],
}
POSITIONS = [(name, position) for name in SITES for position in ("a", "b", "c", "d", "input")]
MISSING = {  # positions that the block of a network does not have
    ("resnet18", "c"),
    ("resnet18_w16", "c"),
    ("resnet34", "c"),
    *((name, place) for name in ("inception_v3", "inception_v3_cuhk", "bn_inception") for place in "cd"),
}
BLOCKS = {"inception_v3": 11, "inception_v3_cuhk": 11, "bn_inception": 11}
"""Sites before blocks, if there are more than one site in a block. BN-Inception: one of them in its stem."""


def build_on_meta(name):
    with on_meta():
        return BACKBONES[name](classes=10)


@pytest.mark.parametrize("name", SITES)
def test_every_block_has_one_insertion_site(name):
    stages = [site.stage for site in find_sites(build_on_meta(name), place="b")]
    assert [stages.count(stage) for stage in ("res2", "res3", "res4", "res5")] == SITES[name]


@pytest.mark.parametrize("name", SITES)
def test_plugged_network_loads_state_dict_of_2d_network(name):
    plain = build_on_meta(name).state_dict()
    network = plug(build_on_meta(name), lambda channels: TAM(channels, frames=4))
    own = {key for key in network.state_dict() if ".temporal." not in key}
    assert own == set(plain)
    result = network.load_state_dict(plain, strict=False, assign=True)
    assert not result.unexpected_keys
    assert all(".temporal." in key for key in result.missing_keys)


@pytest.mark.parametrize(("name", "position"), POSITIONS)
def test_plugged_identity_keeps_output_bitwise(name, position):
    if (name, position) in MISSING:
        with pytest.raises(ValueError, match=f"position {position}"):
            find_sites(build_on_meta(name), place=position)
        return
    if name in ("resnet18_w16", "resnet34", "resnet101", "resnet152", "inception_v3_cuhk"):
        pytest.skip("differs from another network in depth, width or single layers only")
    torch.manual_seed(0)
    network = BACKBONES[name](classes=10).eval()
    side = 96 if name == "bn_inception" else 75
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        before = network(images)
        seen = []

        class Identity(nn.Module):
            def __init__(self, channels):
                super().__init__()
                self.channels = channels

            def forward(self, x):
                assert x.shape[1] == self.channels
                seen.append(self)
                return x

        plug(network, Identity, position=position)
        assert torch.equal(network(images), before)
    assert len(seen) == BLOCKS.get(name if position == "input" else "", sum(SITES[name]))


def test_position_b_is_between_relu_and_conv2():
    torch.manual_seed(0)
    network = BACKBONES["resnet50"](classes=10).eval()
    block = network.layer1[0]
    x = torch.randn(2, 64, 8, 8)
    with torch.inference_mode():
        inner = 2 * block.bn1(block.conv1(x)).relu()
        inner = block.bn2(block.conv2(inner)).relu()
        expected = (block.bn3(block.conv3(inner)) + block.downsample(x)).relu()
        plug(network, lambda _: Double())
        assert torch.allclose(block(x), expected, atol=1e-6)


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def test_stages_select_blocks():
    network = plug(
        build_on_meta("resnet50"), lambda channels: TAM(channels, frames=4), stages=("res4", "res5")
    )
    plugged = {name.split(".")[0] for name, module in network.named_modules() if isinstance(module, TAM)}
    assert plugged == {"layer3", "layer4"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0", "inception_v3"])
def test_copies_and_pickles_run_their_own_modules(name):
    torch.manual_seed(0)
    network = plug(BACKBONES[name](classes=10), lambda channels: TAM(channels, frames=2)).eval()
    images = torch.randn(2, 3, 75, 75)
    with torch.inference_mode():
        before = network(images)
        for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert torch.equal(twin(images), before)
            for module in twin.modules():
                if isinstance(module, TAM):
                    for parameter in module.parameters():
                        parameter.zero_()
            assert not torch.equal(twin(images), before)
            assert torch.equal(network(images), before)


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="Sequential is not a supported 2D network"):
        plug(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Identity)
    with pytest.raises(ValueError, match="choose from res2, res3, res4, res5"):
        plug(build_on_meta("resnet18"), nn.Identity, stages=("res6",))
    with pytest.raises(ValueError, match="has a temporal module already: layer1"):
        plug(plug(build_on_meta("resnet18"), lambda c: TAM(c, frames=2)), lambda c: TAM(c, frames=2))


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x1_0", "inception_v3"]
)
def test_torchvision_networks_have_same_sites(name):
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    with on_meta():
        options = {"init_weights": False} if name == "inception_v3" else {}
        theirs = getattr(models, name)(**options)
    for position in "abcd":
        if (name, position) in MISSING:
            continue
        ours = find_sites(build_on_meta(name), place=position)
        found = find_sites(theirs, place=position)
        described = [[(s.name, s.channels, s.when, s.stage) for s in each] for each in (found, ours)]
        assert described[0] == described[1]


def test_failed_plug_leaves_network_unchanged():
    network, made = build_on_meta("resnet18"), []

    def fail_at_fourth_call(channels):
        made.append(channels)
        if len(made) == 4:
            raise ValueError("no")
        return nn.Identity()

    with pytest.raises(ValueError, match="no"):
        plug(network, fail_at_fourth_call)
    assert not any(name.endswith(".temporal") for name, _ in network.named_modules())


def test_plugging_keeps_the_mode_of_the_network():
    for training in (True, False):
        network = BACKBONES["resnet18_w16"]().train(training)
        plug(network, lambda channels: TAM(channels, frames=4))
        assert {module.training for module in network.modules()} == {training}
