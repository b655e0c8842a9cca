"""The loss of one training step with label smoothing."""

import pytest
import torch

from tanet.models.factory import build
from tanet.recipes.recipe import Optim
from tanet.runtime.distributed import SINGLE_PROCESS
from tanet.training.optimizer import make_optimizer
from tanet.training.step import TrainStep
from tests.support.tiny_videos import TINY, changed


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_uses_smoothed_labels(smoothing):
    """The target is (1 - ε) for the label plus ε / C for every class (Szegedy et al. 2016)."""
    optim = Optim(smoothing=smoothing)
    network = build(TINY.model, classes=3)
    step = TrainStep(
        network, optimizer=make_optimizer(network, optim), optim=optim, group=SINGLE_PROCESS, compile=False
    )
    made = step(torch.randn(2, 4, 3, 32, 32), torch.tensor([2, 0]))
    targets = torch.full((2, 3), smoothing / 3)
    targets[[0, 1], [2, 0]] += 1 - smoothing
    expected = -(targets * made.logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(made.loss, expected)


def test_clip_norm_of_0_leaves_gradients_as_they_are():
    def weights_after_step(clip_norm):
        torch.manual_seed(0)
        optim = Optim(clip_norm=clip_norm, lr=0.1)
        network = build(TINY.model, classes=3)
        optimizer = make_optimizer(network, optim)
        step = TrainStep(network, optimizer=optimizer, optim=optim, group=SINGLE_PROCESS, compile=False)
        result = step(torch.randn(2, 4, 3, 32, 32), torch.tensor([2, 0]))
        assert not result.bad
        return network.head.weight.detach().clone()

    assert torch.equal(weights_after_step(0.0), weights_after_step(1e9))
    assert not torch.equal(weights_after_step(0.0), weights_after_step(1e-3))


def test_step_without_clip_norm_is_skipped_if_not_finite():
    optim = Optim(clip_norm=0.0)
    network = build(TINY.model, classes=3)
    before = network.head.weight.detach().clone()
    optimizer = make_optimizer(network, optim)
    step = TrainStep(network, optimizer=optimizer, optim=optim, group=SINGLE_PROCESS, compile=False)
    assert step(torch.full((2, 4, 3, 32, 32), torch.inf), torch.tensor([2, 0])).bad
    assert torch.equal(network.head.weight, before)


@pytest.mark.parametrize("values", [{"smoothing": 1.0}, {"smoothing": -0.1}, {"new_layer_lr_scale": 0.0}])
def test_invalid_values_are_rejected_with_field_name(values):
    with pytest.raises(ValueError, match=f"optim.{next(iter(values))} must be"):
        changed(TINY, optim=values)
