"""A step with a loss or gradient that is not finite changes no weight, and ends the run or is skipped."""

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
    """Recipe of two epochs of four steps of two clips."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=4, val=1)
    return changed(TINY, data={"root": str(root)}, optim={"epochs": 2, "batch": 2})


def put_nan_in_steps(monkeypatch, *steps):
    """Put a NaN into the views of the given steps, counted from 1."""
    module, count = sys.modules["tanet.training.training_loop"], 0
    original = module.prefetch_to_device

    def prefetch_with_nan(batches, device, spec):
        nonlocal count
        for batch in original(batches, device, spec):
            count += 1
            if count in steps:
                batch.views[0, 1, 2, 3, 4] = torch.nan
            yield batch

    monkeypatch.setattr(module, "prefetch_to_device", prefetch_with_nan)


def videos_of_third_batch(recipe):
    samples = read_split(recipe.data).train
    return [samples[number].path for number in EpochSampler(len(samples), seed=0).keys()[4:6]]


def test_stop_names_step_and_its_videos(recipe, tmp_path, monkeypatch):
    put_nan_in_steps(monkeypatch, 3)
    one, other = videos_of_third_batch(recipe)
    with pytest.raises(
        ValueError, match=f"not finite in epoch 1, step 3, with {one}, {other}: inspect these videos"
    ):
        train(recipe, out=tmp_path, device="cpu")
    monkeypatch.undo()
    train(recipe, out=tmp_path, device="cpu", resume=True)  # the failed run can be resumed


def test_advice_in_error_message_works(recipe, tmp_path, monkeypatch):
    put_nan_in_steps(monkeypatch, 7)  # in the second epoch, when a state has been saved
    with pytest.raises(ValueError, match=r"--resume with --optim\.nonfinite skip; .* another --out"):
        train(recipe, out=tmp_path / "run", device="cpu")
    monkeypatch.undo()
    train(changed(recipe, optim={"nonfinite": "skip"}), out=tmp_path / "run", device="cpu", resume=True)
    train(changed(recipe, optim={"lr": 0.001}), out=tmp_path / "other", device="cpu")


def test_skipped_step_changes_nothing(recipe, tmp_path, monkeypatch):
    one = changed(recipe, optim={"nonfinite": "skip"})
    put_nan_in_steps(monkeypatch, 3)
    said = []
    train(one, out=tmp_path / "skipped", device="cpu", on_event=said.append)
    assert [event for event in said if isinstance(event, BadStep)] == [
        BadStep(1, 3, tuple(videos_of_third_batch(recipe)))
    ]

    steps, original = [], TrainStep.__call__

    def skip_third_step(self, views, labels, *, boxes=None):
        steps.append(labels)
        if len(steps) == 3:
            return StepResult(torch.tensor(torch.nan), torch.zeros(len(labels), 2), torch.tensor(1.0))
        return original(self, views, labels, boxes=boxes)

    monkeypatch.undo()
    monkeypatch.setattr(TrainStep, "__call__", skip_third_step)
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
    assert losses[0] == losses[1]  # mean of the other steps; NaN would not be equal
    assert len(losses[0]) == 2


def test_many_skipped_steps_in_a_row_end_run(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(nonfinite, "MAX_IN_A_ROW", 3)
    put_nan_in_steps(monkeypatch, 2, 4, 5, 6)
    with pytest.raises(ValueError, match=r"3 steps in a row were skipped \(last: .* epoch 2, step 2, "):
        train(changed(recipe, optim={"nonfinite": "skip"}), out=tmp_path, device="cpu")


def test_bad_steps_are_reported_once_with_their_videos():
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
def test_first_step_can_be_skipped(method):
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


def test_infinite_loss_with_finite_gradient_is_bad_step():
    class Far(nn.Module):
        """Returns logits so far apart that the loss is infinite while its gradient is 0 or 1."""

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


def test_loss_and_gradient_do_not_depend_on_number_of_parts():
    class Plain(nn.Module):
        """A network without BatchNorm, so that the samples of a batch do not influence each other."""

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
