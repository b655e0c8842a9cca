"""Gradients of parts and processes: their sum and mean, in each weight's format, begun early and in order."""

import copy
import gc
import weakref
from contextlib import nullcontext
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Two(ProcessGroup):
    """The first of two processes; the other's gradients are three times these."""

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
    """Two convolutions, the first of 54 weights and the second of 12."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 2, 3, bias=False)
        self.two = nn.Conv2d(2, 6, 1, bias=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        return self.two(self.one(images)).mean((2, 3))


@pytest.fixture
def bucket_a_layer(monkeypatch):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", 1)


def plain(network, images):
    """The gradients by autograd alone."""
    found = torch.autograd.grad(network(images).square().sum(), list(network.parameters()))
    return [gradient.clone() for gradient in found]


def test_processes_average_while_the_pass_goes_on(bucket_a_layer):
    network, group, images = Layers(), Two(), torch.randn(2, 3, 5, 5)
    expected = plain(network, images)
    meeting = GradientSync(network, group=group)
    network.one.weight.register_hook(lambda _: group.events.append("the first layer's"))
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    assert group.events == ["mean of 12", "the first layer's", "mean of 54"]
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, 2 * gradient)
        assert param.grad.stride() == param.stride()


def test_means_begin_in_one_order_whichever_is_full_first(bucket_a_layer):
    class Backwards(Layers):
        """The layer that was made last comes first, so that its gradient comes last."""

        def forward(self, images):
            return self.one(self.two(images[:, :2])[:, :3]).mean((2, 3))

    network, group = Backwards(), Two()
    network.one.weight.register_hook(lambda _: group.events.append("the last layer's"))
    network.two.weight.register_hook(lambda _: group.events.append("the first layer's"))
    meeting = GradientSync(network, group=group)
    with meeting.part(first=True, last=True):
        network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    assert group.events == ["the last layer's", "the first layer's", "mean of 12", "mean of 54"]


@pytest.mark.parametrize("bucket", [1, 10**9])
def test_parts_are_added_and_averaged_once(monkeypatch, bucket):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", bucket)
    network, group, images = Layers(), Two(), torch.randn(5, 3, 5, 5)
    expected = plain(network, images)
    meeting = GradientSync(network, group=group)
    for _ in range(2):  # what is left of one step is not in the next
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
def test_a_weight_without_a_gradient_is_named(monkeypatch, bucket):
    monkeypatch.setattr(gradient_sync, "BUCKET_BYTES", bucket)
    network = Layers()
    meeting = GradientSync(network, group=Two())
    with (
        pytest.raises(RankError, match=r"the loss does not depend on two\.weight: "),
        meeting.part(first=True, last=True),
    ):
        network.one(torch.randn(1, 3, 5, 5)).sum().backward()


def test_weights_that_do_not_learn_are_left_alone():
    network, images = Layers(), torch.randn(2, 3, 5, 5)
    network.one.requires_grad_(False)
    meeting = GradientSync(network, group=Two())
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    assert network.one.weight.grad is None
    (expected,) = torch.autograd.grad(network(images).square().sum(), network.two.weight)
    torch.testing.assert_close(network.two.weight.grad, 2 * expected)


def test_weights_that_lie_apart_do_not_get_into_each_others_way():
    network = nn.Linear(3, 4)
    network.weight = nn.Parameter(torch.randn(4, 6)[:, ::2])
    images = torch.randn(2, 3)
    expected = plain(network, images)
    meeting = GradientSync(network, group=Two())
    with meeting.part(first=True, last=True):
        network(images).square().sum().backward()
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, 2 * gradient)


def test_other_passes_are_as_ever():
    network, group, images = Layers(), Two(), torch.randn(2, 3, 5, 5)
    meeting = GradientSync(network, group=group)
    expected = plain(network, images)
    with pytest.raises(ZeroDivisionError), meeting.part(first=True, last=True):  # what broke off is over
        raise ZeroDivisionError
    network(images).square().sum().backward()
    assert group.events == []
    for param, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, gradient)


def test_memory_is_given_back():
    network = Layers()
    meeting = GradientSync(network, group=Two())
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
    """Of the same network two, that begin otherwise in each process: ours, and the first's in torch's DDP."""
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
            part = torch.cat([part, part.flip(0)])  # more than one for BatchNorm
            with meeting.part(first=number == 0, last=last):
                network(part).square().sum().backward()
            with nullcontext() if last else theirs.no_sync():
                theirs(part).square().sum().backward()
        pairs = zip(network.parameters(), theirs.parameters(), strict=True)
        return [(one.grad.numpy(), other.grad.numpy()) for one, other in pairs if one.requires_grad]

    return work


@pytest.mark.slow
def test_two_processes_do_what_ddp_does():
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
        assert "RankError: the networks of the ranks differ: give all the same command" in team.error
    finally:
        team.end()


@pytest.mark.slow
def test_parts_add_up_where_the_network_is_compiled():
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
