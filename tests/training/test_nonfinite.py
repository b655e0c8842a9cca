"""A loss that is not finite moves nothing, and is named with its videos; it ends the run or is skipped."""

import csv
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from tanet import train
from tanet.data.annotations import read_split
from tanet.data.dataset import EpochSampler
from tanet.models.factory import build
from tanet.recipes.recipe import Optim
from tanet.runtime.distributed import SINGLE_PROCESS
from tanet.training import nonfinite
from tanet.training.nonfinite import NonFiniteMonitor
from tanet.training.optimizer import make_optimizer
from tanet.training.step import StepResult, TrainStep
from tanet.training.trainer import BadStep
from tests.support.tiny_videos import TINY, changed, make_folders


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Two epochs of four steps of two."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=4, val=1)
    return changed(TINY, data={"root": str(root)}, optim={"epochs": 2, "batch": 2})


def spoil(monkeypatch, *steps):
    """NaN in these steps' views, from 1."""
    module, count = sys.modules["tanet.training.trainer"], 0
    really = module.prefetch_to_device

    def spoiled(batches, device, spec):
        nonlocal count
        for batch in really(batches, device, spec):
            count += 1
            if count in steps:
                batch.views[0, 1, 2, 3, 4] = torch.nan
            yield batch

    monkeypatch.setattr(module, "prefetch_to_device", spoiled)


def third_batch(recipe):
    samples = read_split(recipe.data).train
    return [samples[number].path for number in EpochSampler(len(samples), seed=0).keys()[4:6]]


def test_stop_names_the_step_and_its_videos(recipe, tmp_path, monkeypatch):
    spoil(monkeypatch, 3)
    one, other = third_batch(recipe)
    with pytest.raises(
        ValueError, match=f"not finite in epoch 1, step 3, with {one}, {other}: inspect these videos"
    ):
        train(recipe, out=tmp_path, device="cpu")
    monkeypatch.undo()
    train(recipe, out=tmp_path, device="cpu", resume=True)  # the state was not touched by it


def test_what_is_advised_can_be_done(recipe, tmp_path, monkeypatch):
    spoil(monkeypatch, 7)  # of the second epoch, so that there is a state
    with pytest.raises(ValueError, match=r"--resume with --optim\.nonfinite skip; .* another --out"):
        train(recipe, out=tmp_path / "run", device="cpu")
    monkeypatch.undo()
    train(changed(recipe, optim={"nonfinite": "skip"}), out=tmp_path / "run", device="cpu", resume=True)
    train(changed(recipe, optim={"lr": 0.001}), out=tmp_path / "other", device="cpu")


def test_skip_is_as_if_the_step_had_not_been(recipe, tmp_path, monkeypatch):
    one = changed(recipe, optim={"nonfinite": "skip"})
    spoil(monkeypatch, 3)
    said = []
    train(one, out=tmp_path / "skipped", device="cpu", on_event=said.append)
    assert [event for event in said if isinstance(event, BadStep)] == [
        BadStep(1, 3, tuple(third_batch(recipe)))
    ]

    steps, really = [], TrainStep.__call__

    def not_the_third(self, views, labels):
        steps.append(labels)
        if len(steps) == 3:
            return StepResult(torch.tensor(torch.nan), torch.zeros(len(labels), 2), torch.tensor(1.0))
        return really(self, views, labels)

    monkeypatch.undo()
    monkeypatch.setattr(TrainStep, "__call__", not_the_third)
    train(one, out=tmp_path / "left_out", device="cpu")
    a, b = (
        safetensors.torch.load_file(tmp_path / name / "last.safetensors") for name in ("skipped", "left_out")
    )
    for name in a:
        assert name.endswith("num_batches_tracked") or torch.equal(a[name], b[name])
    losses = [
        [float(row["train_loss"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").open())]
        for name in ("skipped", "left_out")
    ]
    assert losses[0] == losses[1]  # that of the other steps; NaN would not be equal
    assert len(losses[0]) == 2


def test_many_in_a_row_end_the_run(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(nonfinite, "MAX_IN_A_ROW", 3)
    spoil(monkeypatch, 2, 4, 5, 6)
    with pytest.raises(ValueError, match=r"3 steps in a row were skipped, the last: .* epoch 2, step 2, "):
        train(changed(recipe, optim={"nonfinite": "skip"}), out=tmp_path, device="cpu")


def test_only_the_process_whose_loss_it_was_is_blamed():
    told = []
    watch = NonFiniteMonitor("skip", group=SINGLE_PROCESS, on_event=told.append)
    videos = tuple(f"{number}.mp4" for number in range(11))
    for step, (loss, bad) in enumerate(((1.0, 0.0), (torch.nan, 1.0), (2.0, 1.0), (3.0, 0.0)), 1):
        watch.add(1, step, videos, StepResult(torch.tensor(loss), torch.zeros(1, 2), torch.tensor(bad)))
    watch.check()
    assert [event.step for event in told] == [2, 3]
    assert str(told[0]).endswith("7.mp4 and 3 more")
    assert watch.in_a_row == 0
    watch.check()
    assert len(told) == 2


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_the_first_step_may_be_a_bad_one(method):
    optim = Optim(method=method, lr=0.1)
    views, labels = torch.randn(2, 4, 3, 32, 32), torch.tensor([0, 1])
    ends = []
    for bad in (False, True):
        torch.manual_seed(0)
        network = build(TINY.model, classes=2)
        optimizer = make_optimizer(network, optim)
        step = TrainStep(network, optimizer=optimizer, optim=optim, group=SINGLE_PROCESS, compile=False)
        before = {name: tensor.clone() for name, tensor in network.named_parameters()}
        if bad:
            made = step(views * torch.nan, labels)
            assert made.bad == 1
            assert all(torch.equal(before[name], tensor) for name, tensor in network.named_parameters())
        made = step(views, labels)
        assert made.bad == 0
        assert made.loss.isfinite()
        assert not torch.equal(before["head.weight"], network.head.weight)
        ends.append({k: v for k, v in network.state_dict().items() if "num_batches" not in k})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_loss_without_end_counts_though_its_gradient_has_one():
    class Far(nn.Module):
        """Logits so far apart that the loss is infinite and its gradient 0 or 1."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, views):
            return self.head(views.flatten(1)[:, :1] * 0) + torch.tensor([3e38, -3e38])

    network, optim = Far(), Optim()
    loss = nn.functional.cross_entropy(network(torch.ones(1, 1)), torch.tensor([1]))
    loss.backward()
    assert loss.isinf()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    step = TrainStep(
        network, optimizer=make_optimizer(network, optim), optim=optim, group=SINGLE_PROCESS, compile=False
    )
    assert step(torch.ones(1, 1), torch.tensor([1])).bad == 1


def test_parts_of_a_batch_add_up():
    class Plain(nn.Module):
        """Without BatchNorm, in which a batch's samples meet."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, views):
            return self.head(views)

    views, labels = torch.randn(7, 6), torch.randint(3, (7,))
    ends = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        network, optim = Plain(), Optim(lr=0.1, accumulate=accumulate)
        step = TrainStep(
            network,
            optimizer=make_optimizer(network, optim),
            optim=optim,
            group=SINGLE_PROCESS,
            compile=False,
        )
        made = step(views, labels)
        ends.append((made.loss, made.logits, network.head.weight.detach()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other)
