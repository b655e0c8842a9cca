"""Parameter groups and schedule of the published code."""

import pytest
import torch

from tanet import create_model
from tanet.optim import lr_at, make_optimizer, param_groups, set_lr
from tanet.recipe import Optim

OPTIM = Optim(lr=0.01, weight_decay=1e-4, milestones=(30, 40, 45))


def groups(linear_lr):
    network = create_model(backbone="resnet18", frames=4, classes=5)
    optim = Optim(lr=0.01, weight_decay=1e-4, linear_lr=linear_lr)
    names = {parameter: name for name, parameter in network.named_parameters()}
    found = {}
    for group in param_groups(network, optim):
        for parameter in group["params"]:
            found[names.pop(parameter)] = (group["lr_scale"], group["weight_decay"])
    assert not names  # every parameter is in one group
    return found


@pytest.mark.parametrize(
    ("linear_lr", "head", "inner"), [("all", 5, 5), ("classifier", 5, 1), ("none", 1, 1)]
)
def test_learning_rates_and_decay(linear_lr, head, inner):
    found = groups(linear_lr)
    assert found["backbone.conv1.weight"] == (1, 1e-4)
    assert found["backbone.bn1.weight"] == found["backbone.bn1.bias"] == (1, 0)
    assert found["head.weight"] == (head, 1e-4)
    assert found["head.bias"] == (2 * head, 0)
    site = "backbone.layer1.0.conv2.temporal"
    assert found[f"{site}.G.0.weight"] == found[f"{site}.G.3.weight"] == (inner, 1e-4)
    assert found[f"{site}.L.0.weight"] == (1, 1e-4)
    assert found[f"{site}.G.1.weight"] == found[f"{site}.L.1.bias"] == (1, 0)


def test_schedule_falls_at_the_milestones():
    rates = [lr_at(epoch, OPTIM) for epoch in (0, 29, 30, 39, 40, 44, 45, 49)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_groups_keep_their_multiples():
    sgd = make_optimizer(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), OPTIM)
    set_lr(sgd, 1.0)
    assert {group["name"]: group["lr"] for group in sgd.param_groups} == {"weight": 1, "bias": 2}
    assert not sgd.defaults["nesterov"]
    assert sgd.defaults["momentum"] == 0.9


def test_cosine_with_warmup():
    optim = Optim(lr=1.0, schedule="cosine", epochs=11, warmup=1)
    assert [lr_at(epoch, optim) for epoch in (0, 0.5, 1, 6, 11)] == pytest.approx([0, 0.5, 1, 0.5, 0])
