"""Frozen layers get no gradient and stay in evaluation mode; new temporal modules are never frozen."""

import copy

import pytest
import torch
from torch.nn import Dropout
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.models.freeze import describe_trained, freeze
from tanet.models.meta import on_meta
from tanet.recipes.network2d import Network2D
from tests.support.narrow_networks import NARROW, SIZE

IMAGE = {
    name: Network2D(backbone=name, temporal="none" if name.startswith("bl") else "tam", frames=4)
    for name in BACKBONES
}
SMALL = Network2D(backbone="resnet18_w16", frames=4)


def frozen(model, trained, *, temporal_trained=True):
    torch.manual_seed(0)
    network = build(model, classes=2).train()
    network.temporal_trained = temporal_trained
    freeze(network, trained=trained)
    return network


@pytest.mark.parametrize("name", [*IMAGE, *NARROW])
def test_each_parameter_is_in_one_stage_or_in_the_classifier(name):
    with on_meta():
        network = build((IMAGE | NARROW)[name], classes=2)
    stages = network.stages()
    assert list(stages) == [stage for stage in ("stem", "res2", "res3", "res4", "res5") if stage in stages]
    parts = [f"{part}." for names in stages.values() for part in names]
    for parameter, _ in network.named_parameters():
        assert sum(parameter.startswith(part) for part in parts) == (not parameter.startswith("head."))


@pytest.mark.parametrize(
    "name",
    ["resnet18_w16", "mobilenet_v2", "shufflenet_v2_x1_0", "slowonly", "slowfast", "x3d", "i3d-inception"],
)
def test_stages_have_strides_2_to_32(name):
    network, sides = build((IMAGE | NARROW)[name], classes=2).eval(), {}
    for stage, names in network.stages().items():
        network.get_submodule(names[0]).register_forward_hook(
            lambda _, inputs, maps, stage=stage: sides.update({stage: maps.shape[-1]})
        )
    network(torch.randn(1, network.frames, 3, 64, 64))
    strides = {"stem": 32, "res2": 16, "res3": 8, "res4": 4, "res5": 2}
    assert sides == {stage: strides[stage] for stage in network.stages()}
    assert len(sides) >= 4


@pytest.mark.parametrize(
    "name", ["resnet18_w16", "slowonly", "tam-slowfast", "nl-i3d", "x3d", "i3d-inception"]
)
def test_features_of_linear_probe_have_no_graph(name):
    network, saved = frozen((IMAGE | NARROW)[name], "head"), []
    clips = torch.randn(2, network.frames, 3, SIZE, SIZE)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda _: None):
        features = network.features(clips)
    assert not features.requires_grad
    assert not saved
    network(clips).sum().backward()
    assert {name for name, p in network.named_parameters() if p.grad is not None} == {
        "head.weight",
        "head.bias",
    }


def test_only_dropout_of_classifier_is_active_in_linear_probe():
    network = frozen(SMALL, "head")
    active = [
        name for name, m in network.named_modules() if m.training and isinstance(m, Dropout | _BatchNorm)
    ]
    assert active == ["dropout"]
    clips = torch.randn(2, 4, 3, SIZE, SIZE)
    features = network.features(clips)
    assert torch.equal(network.eval().features(clips), features)
    assert not any(module.training for module in network.modules())
    assert network.train().dropout.training
    assert torch.equal(copy.deepcopy(network).train().features(clips), features)


def test_backward_pass_ends_at_first_trained_stage():
    network = frozen(NARROW["tam-slowfast"], "from-res4")
    network(torch.randn(2, network.frames, 3, SIZE, SIZE)).sum().backward()
    first = ("slow.stem", "slow.res2", "slow.res3", "fast.stem", "fast.res2", "fast.res3")
    first += ("laterals.0", "laterals.1", "laterals.2")
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == name.startswith(first), name
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            assert module.training != name.startswith(first), name


def test_new_temporal_modules_and_norms_of_their_stages_are_trained():
    model = Network2D(backbone="resnet18_w16", frames=4, stages=("res3", "res5"))
    network = frozen(model, "from-res5", temporal_trained=False)
    norms = {name for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    for name, parameter in network.named_parameters():
        site = name.rpartition(".")[0]
        adapts = "layer2." in name and (".temporal." in name or site in norms)
        assert parameter.requires_grad == (adapts or name.startswith(("backbone.layer4.", "head."))), name
    for name in norms:
        assert network.get_submodule(name).training == ("layer2." in name or "layer4." in name), name
    line = describe_trained(network, trained="from-res5")
    assert line.endswith(
        "parameters: res5 and the layers after it, new temporal modules, and the BatchNorms of their stages"
    )
    # A shift has no weights, so there is nothing to train in a frozen stage.
    shift = frozen(
        Network2D(backbone="resnet18_w16", temporal="tsm", frames=4), "head", temporal_trained=False
    )
    assert describe_trained(shift, trained="head") == "trains 258 of 702,354 parameters: the classifier"


def test_stage_that_network_lacks_is_one_line():
    choices = "choose all, from-res3, from-res4, from-res5 or head"
    with pytest.raises(UserError, match=f"^optim.trained from-res2: this network has no res2: {choices}$"):
        frozen(IMAGE["shufflenet_v2_x1_0"], "from-res2")


def test_nothing_is_frozen_by_default():
    network = frozen(SMALL, "all", temporal_trained=False)
    assert not network.frozen
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def test_partial_norm_trains_only_the_first_batch_norm():
    network = build(SMALL, classes=2).train()
    freeze(network, trained="all", partial_norm=True)
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    first, *rest = [name for name in norms if ".temporal." not in name]
    assert norms[first].training
    assert norms[first].weight.requires_grad
    for name in rest:
        assert not norms[name].training
        assert not norms[name].weight.requires_grad
    new = [norm for name, norm in norms.items() if ".temporal." in name]
    assert new
    assert all(norm.training and norm.weight.requires_grad for norm in new)
    assert network.backbone.layer4[0].conv1.weight.requires_grad
