"""GradientSync sums gradients over the parts of a batch and averages them over ranks in the backward pass."""

import copy
import gc
import weakref
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.process_groups import Team
from tanet.recipes.recipe import Optim
from tanet.runtime.distributed import SINGLE_PROCESS, ProcessGroup, RankError
from tanet.training import gradient_sync
from tanet.training.gradient_sync import GradientSync
from tanet.training.optimizer import make_optimizer
from tanet.training.step import TrainStep
from tests.support.fork_server import quick_teams as quick_teams


@dataclass(frozen=True)
class FirstOfTwoRanks(ProcessGroup):
    """Rank 0 of 2 without a rank 1: the gradients of rank 1 are taken to be three times those of rank 0."""

    rank: int = 0
    world_size: int = 2
    events: list = field(default_factory=list)

    def all_gather_objects(self, value):
        return [value, value]

    def broadcast_tensors_(self, tensors):
        pass

    def all_reduce_mean_async(self, tensor):
        self.events.append(f"mean of {tensor.numel()}")
        return lambda: tensor.mul_(2)


class Layers(nn.Module):
    """Two convolutions with 54 and 12 weights."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 2, 3, bias=False)
        self.two = nn.Conv2d(2, 6, 1, bias=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        return self.two(self.one(images)).mean((2, 3))


@pytest.fixture
def one_bucket_per_layer(monkeypatch):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", 1)


def autograd_gradients(network, images):
    """Compute the gradients with autograd alone, without GradientSync."""
    found = torch.autograd.grad(network(images).square().sum(), list(network.parameters()))
    return [gradient.clone() for gradient in found]


def test_gradients_are_averaged_during_backward_pass(one_bucket_per_layer):
    network, group, images = Layers(), FirstOfTwoRanks(), torch.randn(2, 3, 5, 5)
    expected = autograd_gradients(network, images)
    meeting = GradientSync(network, group=group)
    network.one.weight.register_hook(lambda _: group.events.append("the first layer's"))
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    assert group.events == ["mean of 12", "the first layer's", "mean of 54"]
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, 2 * gradient)
        assert param.grad.stride() == param.stride()


def test_all_reduces_start_in_fixed_order(one_bucket_per_layer):
    class Backwards(Layers):
        """The forward pass calls the layers in the reverse order of their definition."""

        def forward(self, images):
            return self.one(self.two(images[:, :2])[:, :3]).mean((2, 3))

    network, group = Backwards(), FirstOfTwoRanks()
    network.one.weight.register_hook(lambda _: group.events.append("the last layer's"))
    network.two.weight.register_hook(lambda _: group.events.append("the first layer's"))
    meeting = GradientSync(network, group=group)
    with meeting.part(first=True, last=True):
        network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    assert group.events == ["the last layer's", "the first layer's", "mean of 12", "mean of 54"]


@pytest.mark.parametrize("bucket", [1, 10**9])
def test_gradients_of_parts_are_summed_and_averaged_once(monkeypatch, bucket):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", bucket)
    network, group, images = Layers(), FirstOfTwoRanks(), torch.randn(5, 3, 5, 5)
    expected = autograd_gradients(network, images)
    meeting = GradientSync(network, group=group)
    for _ in range(2):  # the gradient of one step is not added to the next
        group.events.clear()
        network.zero_grad()
        for number, part in enumerate(images.split(2)):
            with meeting.part(first=number == 0, last=number == 2):
                network(part).square().sum().backward()
            assert bool(group.events) == (number == 2)
        assert len(group.events) == (2 if bucket == 1 else 1)
        for param, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(param.grad, 2 * gradient)


@pytest.mark.parametrize("bucket", [1, 10**9])
def test_weight_without_gradient_is_named_in_error(monkeypatch, bucket):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", bucket)
    network = Layers()
    meeting = GradientSync(network, group=FirstOfTwoRanks())
    with (
        pytest.raises(RankError, match=r"the loss does not depend on two\.weight: "),
        meeting.part(first=True, last=True),
    ):
        network.one(torch.randn(1, 3, 5, 5)).sum().backward()


def test_frozen_weights_get_no_gradient():
    network, images = Layers(), torch.randn(2, 3, 5, 5)
    network.one.requires_grad_(False)
    meeting = GradientSync(network, group=FirstOfTwoRanks())
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    assert network.one.weight.grad is None
    (expected,) = torch.autograd.grad(network(images).square().sum(), network.two.weight)
    torch.testing.assert_close(network.two.weight.grad, 2 * expected)


def test_gradients_of_strided_weight_do_not_overlap():
    network = nn.Linear(3, 4)
    network.weight = nn.Parameter(torch.randn(4, 6)[:, ::2])
    images = torch.randn(2, 3)
    expected = autograd_gradients(network, images)
    meeting = GradientSync(network, group=FirstOfTwoRanks())
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, 2 * gradient)


def test_backward_pass_outside_step_is_unchanged():
    network, group, images = Layers(), FirstOfTwoRanks(), torch.randn(2, 3, 5, 5)
    meeting = GradientSync(network, group=group)
    expected = autograd_gradients(network, images)
    # The failed step must not stay active.
    with pytest.raises(ZeroDivisionError), meeting.part(first=True, last=True):
        raise ZeroDivisionError
    network(images).square().sum().backward()
    assert group.events == []
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, gradient)


def test_freed_sync_releases_its_memory():
    network = Layers()
    meeting = GradientSync(network, group=FirstOfTwoRanks())
    with meeting.part(first=True, last=True):
        network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    left = weakref.ref(meeting), weakref.ref(meeting.buckets[0].flat), weakref.ref(network.one.weight)
    del meeting
    gc.collect()
    network.zero_grad()
    assert [one() is None for one in left] == [True, True, False]
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    assert network.one.weight.grad is not None
    del network
    gc.collect()
    assert left[2]() is None


def build_both(group, device):
    """Build one network with GradientSync and a copy with DDP; each rank starts from other weights."""
    torch.manual_seed(group.rank)
    network = nn.Sequential(Layers(), nn.BatchNorm1d(6), nn.Linear(6, 3)).to(device)
    network[1].running_mean += group.rank
    network[1].requires_grad_(False)
    meeting = GradientSync(network, group=group)
    theirs = DistributedDataParallel(copy.deepcopy(network), broadcast_buffers=False)

    def work(word):
        if word == "begin":
            return {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        if word == "differ":
            GradientSync(network[group.rank :], group=group)
        images = torch.randn(7, 3, 5, 5, device=device)
        network.zero_grad()
        theirs.zero_grad()
        for number, part in enumerate(images.split(3)):
            last = number == 2
            part = torch.cat([part, part.flip(0)])  # BatchNorm needs more than one sample
            with meeting.part(first=number == 0, last=last):
                network(part).square().sum().backward()
            with nullcontext() if last else theirs.no_sync():
                theirs(part).square().sum().backward()
        pairs = zip(network.parameters(), theirs.parameters(), strict=True)
        return [(one.grad.numpy(), other.grad.numpy()) for one, other in pairs if one.requires_grad]

    return work


@pytest.mark.slow
def test_two_ranks_match_ddp():
    team = Team("two", gpus=2, make=build_both, device="cpu")
    try:
        team.wait()
        one, other = team.ask("begin")
        assert all(np.array_equal(one[name], other[name]) for name in one)
        for _ in range(2):
            one, other = team.ask("step")
            assert len(one) == 4
            for (first, ddp), (second, _) in zip(one, other, strict=True):
                assert np.abs(first).max() > 0
                assert np.array_equal(first, second)
                assert np.array_equal(first, ddp)
        assert team.ask("differ") == []
        assert (
            "RankError: the networks of the ranks differ: start all ranks with the same command" in team.error
        )
    finally:
        team.end()


@pytest.mark.slow
def test_compiled_network_sums_parts_of_batch(monkeypatch):
    # Generating code takes long, and proves nothing about the sums.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, views):
            return self.head(views.tanh())

    views, labels = torch.randn(6, 6), torch.randint(3, (6,))
    ends = []
    for accumulate, compile in ((1, False), (3, True)):
        torch.manual_seed(0)
        network, optim = Head(), Optim(lr=0.1, accumulate=accumulate)
        optimizer = make_optimizer(network, optim)
        step = TrainStep(network, optimizer=optimizer, optim=optim, group=SINGLE_PROCESS, compile=compile)
        for _ in range(3):
            made = step(views, labels)
        ends.append((made.loss, made.logits, network.head.weight.detach()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other)
