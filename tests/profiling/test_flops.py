"""Parameters and FLOPs match the paper and hand counts; latencies are measured after a warm-up."""

import time

import pytest
import torch
from torch import nn

from tanet.models.factory import build
from tanet.models.temporal import TAM
from tanet.models.video_net import VideoNet
from tanet.profiling import latency
from tanet.profiling.flops import Count, build_on_meta, count_cost
from tanet.profiling.latency import measure_latency
from tanet.recipes import TABLES
from tanet.recipes.recipe import Network2D

PARAMETERS = {
    "none": 24_327_632,
    "pool": 24_327_632,
    "tconv": 28_100_048,
    "tsm": 24_327_632,
    "i3d": 32_986_576,
    "nonlocal": 31_686_096,
    "global+se": 24_649_576,
    "tanet-r": 25_590_320,
    "tam": 25_590_320,
}
CLOSE = ("none", "pool", "tconv", "tsm", "i3d", "global", "tanet-r", "tam")


@pytest.fixture(scope="module")
def table2():
    return {
        name: count_cost(build_on_meta(row.recipe.model, classes=400), size=256).total
        for name, row in TABLES["2"].items()
    }


def test_number_of_parameters_matches_recorded_values(table2):
    assert {name: table2[name].parameters for name in PARAMETERS} == PARAMETERS


@pytest.mark.parametrize("name", TABLES["2"])
def test_flops_of_table_2_match_paper(table2, name):
    row, count = TABLES["2"][name], table2[name]
    difference = abs(count.paper_flops / 1e9 - row.gflops)
    assert difference < (0.02 if name in CLOSE else 0.1)
    # A row has a note if and only if it differs from the paper.
    assert bool(row.note) == (difference > 0.02)
    # Not all layers of TEINet are published, so its count may differ more.
    assert count.parameters / 1e6 == pytest.approx(row.params_m, abs=0.02 if name == "tei" else 0.005)


def test_flops_of_2d_network_and_tam_match_paper_exactly(table2):
    assert f"{table2['none'].paper_flops / 1e9:.2f}" == "42.95"
    assert f"{table2['tam'].paper_flops / 1e9:.2f}" == "43.02"


def test_products_of_attention_count_as_multiply_adds_only(table2):
    assert table2["nonlocal"].products / 1e9 == pytest.approx(20.4, abs=0.01)
    assert table2["nonlocal"].macs > 1.8 * table2["none"].macs
    assert all(count.products == 0 for name, count in table2.items() if name != "nonlocal")


def test_multiply_adds_at_224():
    plain = count_cost(build_on_meta(Network2D(temporal="none"), classes=400), size=224)
    adaptive = count_cost(build_on_meta(Network2D(temporal="tam"), classes=400), size=224)
    assert plain.total.macs / 1e9 == pytest.approx(32.704, abs=5e-4)
    assert adaptive.total.macs / 1e9 == pytest.approx(32.760, abs=5e-4)
    # The cost of the 2D network does not depend on the temporal module.
    assert (plain.backbone, plain.classifier) == (adaptive.backbone, adaptive.classifier)
    assert plain.temporal == Count()
    assert adaptive.total.macs - plain.total.macs == adaptive.temporal.macs


def test_cost_of_longer_clips_and_other_classes():
    long = count_cost(build_on_meta(Network2D(frames=16), classes=400), size=256).total
    assert long.parameters == 25_597_744
    assert round(long.paper_flops / 1e9) == 86
    assert count_cost(build_on_meta(Network2D(), classes=174), size=224).total.parameters == 25_127_246


def test_mobilenet_has_300_million_multiply_adds():
    model = Network2D(backbone="mobilenet_v2", temporal="none", frames=4)
    assert count_cost(build_on_meta(model, classes=1000), size=224).total.macs / 4 == pytest.approx(
        300e6, rel=0.01
    )


class SmallTam(nn.Module):
    """Grouped convolution, norm, TAM and mean pooling: [N, 3, H, W] → [N, 6]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (3, 1), stride=2, groups=3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.temporal = TAM(6, frames=4, alpha=2, beta=2, kernel=5)

    def forward(self, images):
        return self.temporal(self.norm(self.conv(images)).relu()).mean((2, 3))


def test_counts_match_values_worked_out_by_hand():
    network = VideoNet(SmallTam(), features=6, frames=4, classes=7)
    counted = count_cost(network, size=9)
    # Frames of 9 × 9 become maps of 4 × 5. Each group has one channel, each kernel three rows.
    elements = 4 * 6 * 4 * 5
    assert counted.backbone == Count(parameters=6 * 3 + 12, dense=elements * 3, norms=elements)
    # Global branch: six rows of T = 4, hidden 8, K = 5. Local branch over T = 4: 6 channels to 3 with three
    # taps, then 3 channels to 6 with one tap.
    weights = {"global": 4 * 8 + 8 * 5, "local": 6 * 3 * 3 + 3 * 6}
    assert counted.temporal == Count(
        parameters=weights["global"] + 2 * 8 + weights["local"] + 2 * 3,
        dense=6 * weights["global"] + 4 * weights["local"],
        taps=elements * 5,
        norms=6 * 8 + 3 * 4,
    )
    assert counted.classifier == Count(parameters=6 * 7 + 7, dense=4 * 6 * 7)
    total = counted.total
    assert total.macs == total.layers == total.dense + total.taps
    assert total.paper_flops == total.macs + 2 * total.norms


def test_attention_products_match_values_worked_out_by_hand():
    model = Network2D(backbone="resnet18_w16", temporal="nonlocal", frames=2)
    counted = count_cost(build_on_meta(model, classes=2), size=64)
    # One block in res3 (8 × 8 maps, 32 channels) and one in res4 (4 × 4, 64 channels). Keys are pooled 2 × 2.
    expected = [2 * (2 * side**2) * (2 * (side // 2) ** 2) * inner for side, inner in ((8, 16), (4, 32))]
    assert counted.temporal.products == counted.total.products == sum(expected)


def test_counting_does_not_change_network():
    network = build(Network2D(backbone="resnet18_w16"), classes=3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = count_cost(network, size=32)
    assert network.training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert (
        count_cost(network, size=32)
        == first
        == count_cost(build_on_meta(Network2D(backbone="resnet18_w16"), classes=3), size=32)
    )


def test_counting_copies_no_weights(monkeypatch):
    network = build(Network2D(backbone="resnet18_w16", temporal="nonlocal"), classes=3)

    def copied(tensor, memo):
        raise AssertionError(f"a copy of {list(tensor.shape)}")

    monkeypatch.setattr(torch.Tensor, "__deepcopy__", copied)
    monkeypatch.setattr(nn.Parameter, "__deepcopy__", copied)
    assert count_cost(network, size=32).total.parameters == sum(p.numel() for p in network.parameters())


def test_uncountable_networks_are_rejected():
    network = VideoNet(nn.Sequential(nn.GroupNorm(1, 3)), features=3, frames=1, classes=2)
    with pytest.raises(ValueError, match=r"^backbone\.0: the operations of a GroupNorm cannot be counted$"):
        count_cost(network, size=8)
    network = build_on_meta(Network2D(backbone="inception_v3", temporal="none"), classes=2)
    with pytest.raises(ValueError, match=r"^frames of 32 × 32 pixels do not fit this network: .*Calculated"):
        count_cost(network, size=32)
    with pytest.raises(ValueError, match="size must be positive, not 0"):
        count_cost(network, size=0)


class SlowWarmUp(nn.Module):
    """Network that sleeps 5 ms per call, and longer in the first calls, as if it had to warm up."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        time.sleep(0.1 if self.calls <= latency.WARM_UP else 0.005)
        return images.mean((2, 3))


@pytest.mark.parametrize(("enough", "runs"), [(0.0, latency.AT_LEAST), (60.0, 8)])
def test_latency_is_measured_after_warm_up(monkeypatch, enough, runs):
    monkeypatch.setattr(latency, "ENOUGH", enough)
    monkeypatch.setattr(latency, "AT_MOST", 8)
    network = VideoNet(SlowWarmUp(), features=3, frames=2, classes=2).train()
    speed = measure_latency(network, size=4, batch=3, precision="bfloat16")
    assert (speed.batch, speed.runs, speed.precision, speed.peak_memory) == (3, runs, "float32", None)
    assert network.backbone.calls == latency.WARM_UP + runs
    assert 0.005 <= speed.p20 <= speed.p50 <= speed.p80 < 0.1
    assert not network.training


def test_latency_rejects_empty_batch():
    network = build(Network2D(backbone="resnet18_w16"), classes=2)
    with pytest.raises(ValueError, match="size and batch must be positive, not 32 and 0"):
        measure_latency(network, size=32, batch=0, precision="float32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_peak_gpu_memory_includes_weights_and_clips():
    network = build(Network2D(backbone="resnet18", frames=4), classes=5).cuda()
    speeds = [measure_latency(network, size=64, batch=batch, precision="bfloat16") for batch in (1, 16)]
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    assert speeds[0].precision == "bfloat16"
    single, batch = (speed.peak_memory or 0 for speed in speeds)
    assert weights < single < batch < 10 * weights
