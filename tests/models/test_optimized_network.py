"""Optimized networks convert their clips, choose a memory format on a CPU, and say when float16 overflows."""

import copy
import warnings

import pytest
import torch

from tanet.errors import UserError
from tanet.models import optimized_network
from tanet.models.factory import build
from tanet.models.network import DTYPES
from tanet.models.optimized_network import CpuNetwork, OptimizedNetwork, overflow_message
from tanet.recipes.recipe import Network2D
from tests.support.kernels import relative_error
from tests.support.narrow_networks import NARROW, randomize_norms

SMALL = Network2D(backbone="resnet18_w16", frames=2, temporal="tam")


def test_on_a_cpu_nothing_is_compiled_and_the_faster_format_wins(monkeypatch):
    network = build(SMALL, classes=3).eval()
    clips = torch.randn(2, 2, 3, 32, 32)
    monkeypatch.setattr(torch, "compile", None)
    formats = {False: torch.contiguous_format, True: torch.channels_last}
    for last in formats:
        seconds = lambda network, _, last=last: 1.0 + (is_channels_last(network) != last)  # noqa: E731
        monkeypatch.setattr(optimized_network, "_seconds", seconds)
        fast = network.optimize()
        assert isinstance(fast, CpuNetwork)
        torch.testing.assert_close(fast(clips), network(clips), rtol=1e-3, atol=1e-5)
        assert is_channels_last(fast.network) == last


def is_channels_last(network):
    return network.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_3d_networks_choose_among_3d_formats():
    fast = build(NARROW["x3d"], classes=3).eval().optimize()
    fast(torch.randn(1, fast.network.frames, 3, 32, 32))
    assert fast._chosen


@pytest.mark.parametrize("compile", [False, True])
def test_clips_of_another_precision_are_converted(compile, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, options: network)
    fast = build(SMALL, classes=3).eval().optimize(precision="bfloat16", compile=compile)
    assert isinstance(fast, OptimizedNetwork if compile else CpuNetwork)
    assert fast(torch.randn(1, 2, 3, 32, 32, dtype=torch.float64)).isfinite().all()


def test_overflow_in_float16_names_the_layer(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, options: network)
    network = build(SMALL, classes=3).eval()
    clips = torch.randn(1, 2, 3, 32, 32)
    fast = network.optimize(precision="float16", compile=True)
    torch.testing.assert_close(fast(clips), network(clips), rtol=2e-2, atol=2e-2)
    with torch.no_grad():
        network.backbone.layer2[0].bn2.weight.fill_(1e7)
    fast = network.optimize(precision="float16", compile=True)
    with pytest.raises(UserError, match=r"float16 overflows in backbone\.layer2\.0\.conv2: .*bfloat16"):
        fast(clips)
    assert "clips contain" in overflow_message(fast.network, clips.half() * torch.inf)


def test_later_overflow_warns_once(monkeypatch):
    """The flag of the calls so far is copied without waiting; a later call warns."""

    class Event:
        def query(self):
            return True

        def record(self):
            pass

    monkeypatch.setattr(torch.cuda, "Event", Event)
    fast = OptimizedNetwork(build(SMALL, classes=3).eval(), graph=False)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda size, pin_memory, **options: ones(size, **options))
    fast._watch(torch.tensor(True))
    fast._watch(torch.tensor(False))
    with pytest.warns(RuntimeWarning, match="overflowed in an earlier call"):
        fast._watch(torch.tensor(True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast._watch(torch.tensor(True))


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["tanet", "slowfast", "x3d", "ip-csn", "r2plus1d"])
def test_optimized_networks_are_as_exact_as_plain_ones_in_the_same_precision(name, precision):
    """With and without a CUDA graph, for one clip and for several; a second shape compiles again."""
    torch.manual_seed(0)
    model = Network2D(backbone="resnet50", frames=8, temporal="tam") if name == "tanet" else NARROW[name]
    network = randomize_norms(build(model, classes=5)).float().cuda()
    torch.nn.init.normal_(network.head.weight)
    dtype = DTYPES[precision]
    fast = [network.optimize(precision=precision, graph=graph) for graph in (True, False)]
    half, network = copy.deepcopy(network).to(dtype), network.double()
    for number in (1, 3):
        clips = torch.randn(number, network.frames, 3, 64, 64, device="cuda").to(dtype)
        with torch.no_grad():
            exact = network(clips.double())
            plain = relative_error(half(clips), exact, norm=2)
            for optimized in fast:
                found = relative_error(optimized(clips), exact, norm=2)
                assert found <= 2 * plain
                assert relative_error(optimized(clips), exact, norm=2) == found  # the captured graph
