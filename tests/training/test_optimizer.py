"""Parameter groups and learning-rate schedule match those of the published code."""

import math
from dataclasses import replace

import pytest
import torch

from tanet.models.factory import build
from tanet.recipes.recipe import Eval, Network2D, Optim, Recipe
from tanet.training.optimizer import make_optimizer, param_groups
from tanet.training.schedule import lr_at, peak_lr, set_lr, shorten_schedule

OPTIM = Optim(lr=0.01, weight_decay=1e-4, milestones=(30, 40, 45))


def lr_scale_and_decay(linear_lr_boost, *, trained=False, **options):
    network = build(Network2D(backbone="resnet18", frames=4), classes=5)
    optim = Optim(lr=0.01, weight_decay=1e-4, linear_lr_boost=linear_lr_boost, **options)
    names = {parameter: name for name, parameter in network.named_parameters()}
    found = {}
    for group in param_groups(network, optim, trained=trained):
        for parameter in group["params"]:
            found[names.pop(parameter)] = (group["lr_scale"], group["weight_decay"])
    assert not names  # every parameter is in one group
    return found


@pytest.mark.parametrize(
    ("linear_lr_boost", "head", "inner"), [("all", 5, 5), ("classifier", 5, 1), ("none", 1, 1)]
)
def test_linear_lr_boost_sets_learning_rates_and_decay(linear_lr_boost, head, inner):
    found = lr_scale_and_decay(linear_lr_boost)
    assert found["backbone.conv1.weight"] == (1, 1e-4)
    assert found["backbone.bn1.weight"] == found["backbone.bn1.bias"] == (1, 0)
    assert found["head.weight"] == (head, 1e-4)
    assert found["head.bias"] == (2 * head, 0)
    site = "backbone.layer1.0.conv2.temporal"
    assert found[f"{site}.G.0.weight"] == found[f"{site}.G.3.weight"] == (inner, 1e-4)
    assert found[f"{site}.L.0.weight"] == (1, 1e-4)
    assert found[f"{site}.G.1.weight"] == found[f"{site}.L.1.bias"] == (1, 0)


def test_new_layers_get_higher_learning_rate():
    usual, faster = lr_scale_and_decay("classifier"), lr_scale_and_decay("classifier", new_layer_lr_scale=10)
    for name, (lr_scale, decay) in usual.items():
        fresh = name.startswith("head.") or ".temporal." in name
        assert faster[name] == (10 * lr_scale if fresh else lr_scale, decay)
    for name, (lr_scale, decay) in lr_scale_and_decay(
        "classifier", new_layer_lr_scale=10, trained=True
    ).items():
        old = usual[name]
        assert (lr_scale, decay) == ((10 * old[0], old[1]) if name.startswith("head.") else old)


def test_learning_rate_falls_at_milestones():
    rates = [lr_at(epoch, OPTIM) for epoch in (0, 29, 30, 39, 40, 44, 45, 49)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_set_lr_keeps_multiples_of_groups():
    sgd = make_optimizer(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), OPTIM)
    set_lr(sgd, 1.0)
    assert {group["name"]: group["lr"] for group in sgd.param_groups} == {"weight": 1, "bias": 2}
    assert not sgd.defaults["nesterov"]
    assert sgd.defaults["momentum"] == 0.9


def test_nesterov_step_looks_ahead():
    """Compare two steps with w - lr (g + m v), v = m v + g (Sutskever et al. 2013)."""
    layer = torch.nn.Conv2d(1, 1, 1, bias=False)
    sgd = make_optimizer(layer, replace(OPTIM, lr=0.1, momentum=0.9, weight_decay=0.0, nesterov=True))
    weight, velocity = layer.weight.item(), 0.0
    for gradient in (1.0, -2.0):
        layer.weight.grad = torch.full_like(layer.weight, gradient)
        sgd.step()
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (gradient + 0.9 * velocity)
        assert layer.weight.item() == pytest.approx(weight, abs=1e-6)
    for wrong in ({"method": "adamw"}, {"momentum": 0.0}):
        with pytest.raises(ValueError, match=r"^optim\.nesterov needs optim\.method sgd and a momentum"):
            replace(OPTIM, nesterov=True, **wrong)


def test_cosine_schedule_has_warmup():
    optim = Optim(lr=1.0, schedule="cosine", epochs=11, warmup=1)
    assert [lr_at(epoch, optim) for epoch in (0, 0.5, 1, 6, 11)] == pytest.approx([0, 0.5, 1, 0.5, 0])


PYSLOWFAST = Optim(lr=0.1, schedule="full-cosine", epochs=196, warmup=34, warmup_lr=0.01)


def test_full_cosine_starts_under_the_warmup():
    top = 0.1 / 2 * (1 + math.cos(34 * math.pi / 196))  # the warm-up ends on the cosine
    assert top == pytest.approx(0.09276, abs=1e-5)
    expected = {0: 0.01, 17: (0.01 + top) / 2, 34: top, 98: 0.05, 196: 0}
    assert [lr_at(epoch, PYSLOWFAST) for epoch in expected] == pytest.approx([*expected.values()])
    scaled = replace(PYSLOWFAST, batch=128, lr_batch=64)
    assert [lr_at(epoch, scaled) for epoch in expected] == pytest.approx([2 * lr for lr in expected.values()])
    # 98 epochs: the schedule is half as long.
    short = shorten_schedule(Recipe(optim=replace(PYSLOWFAST, batch=10, max_steps=980)), videos=100).optim
    assert (short.epochs, short.warmup) == (98, 17)
    assert [lr_at(epoch / 2, short) for epoch in expected] == pytest.approx([*expected.values()])


def test_warmup_of_other_schedules_starts_at_warmup_lr():
    optim = Optim(lr=1.0, schedule="cosine", epochs=11, warmup=1, warmup_lr=0.2)
    assert [lr_at(epoch, optim) for epoch in (0, 0.5, 1, 6)] == pytest.approx([0.2, 0.6, 1, 0.5])
    step = replace(OPTIM, warmup=2, warmup_lr=0.002)
    assert [lr_at(epoch, step) for epoch in (0, 1, 2, 30)] == pytest.approx([0.002, 0.006, 0.01, 0.001])


def test_biases_like_weights_have_lr_and_decay_of_weights():
    found = lr_scale_and_decay("none", biases="like-weights")
    for name, (lr_scale, decay) in found.items():
        norm = "bn" in name or ".G.1." in name or ".L.1." in name or "downsample.1." in name
        assert (lr_scale, decay) == (1, 0 if norm else 1e-4), name
    assert found["head.bias"] == (1, 1e-4)
    boosted = lr_scale_and_decay("classifier", biases="like-weights")
    assert boosted["head.bias"] == boosted["head.weight"] == (5, 1e-4)


def test_max_steps_shortens_epochs_and_schedule():
    optim = Optim(epochs=50, milestones=(30, 40), warmup=5, batch=16, max_steps=40_000)
    recipe = Recipe(optim=optim, eval=Eval(every=10))
    assert shorten_schedule(recipe, videos=500) == recipe  # 31 × 50 steps
    assert shorten_schedule(recipe, videos=12_800) == recipe  # 800 × 50 steps, just enough
    fitted = shorten_schedule(recipe, videos=64_000)  # 4000 steps per epoch
    optim = fitted.optim
    assert (optim.epochs, optim.milestones, optim.warmup) == (10, (6, 8), 1)
    assert fitted.eval.every == 2
    assert shorten_schedule(fitted, videos=64_000) == fitted
    assert shorten_schedule(recipe, videos=10_000_000).optim.epochs == 1


def test_learning_rate_scales_with_batch_only_if_lr_batch_is_set():
    assert peak_lr(Optim(lr=0.01, batch=256)) == 0.01
    scaled = Optim(lr=0.01, batch=256, lr_batch=64, milestones=(1,))
    assert [lr_at(epoch, scaled) for epoch in (0, 1)] == pytest.approx([0.04, 0.004])


def test_momentum_starts_like_torch_sgd():
    one, other = (torch.nn.Linear(3, 2, bias=False) for _ in range(2))
    other.load_state_dict(one.state_dict())
    optim = Optim(lr=0.1, weight_decay=0.0, linear_lr_boost="none")
    ours, theirs = make_optimizer(one, optim), torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for network, optimizer in ((one, ours), (other, theirs)):
            optimizer.zero_grad()
            network(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)
