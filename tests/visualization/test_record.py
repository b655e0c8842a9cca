"""Recorded gates and kernels reproduce the output of each module and differ from clip to clip."""

import copy
from dataclasses import replace

import pytest
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.samples import Sample, spread_over_classes
from tanet.evaluation.metrics import rank_correlation
from tanet.models.factory import build
from tanet.models.temporal import TEMPORAL
from tanet.models.temporal.tam_branches import apply_gate
from tanet.ops import adaptive_conv
from tanet.visualization import captions
from tanet.visualization.fixed_kernels import FIXED, fixed_kernels, tap_shares
from tanet.visualization.record import (
    ADAPTIVE,
    RecordedClip,
    SiteRecord,
    last_sites,
    record_batch,
    record_clip,
)
from tests.support.tiny_videos import TINY, make


def make_model(temporal, **fields):
    torch.manual_seed(0)
    section = replace(TINY.model, temporal=temporal, **fields)
    network = build(section, classes=3).eval()
    with torch.no_grad():  # the initial weights give the same kernel for all channels and clips
        for name, weight in network.named_parameters():
            if ".G." in name or ".L." in name or "taps_conv" in name:
                weight.copy_(torch.randn_like(weight))
    return Checkpoint(network, replace(TINY, model=section), ("a", "b", "c"))


def make_views(count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 4, 3, 32, 32), generator=generator, dtype=torch.uint8)


def make_clip(kernel, frames=None):
    frames = torch.zeros(2, 3, 4, 4, dtype=torch.uint8) if frames is None else frames
    return RecordedClip("x.mp4", "a", "a", 1.0, frames, (SiteRecord("layer3.1.conv2", "res4", None, kernel),))


@pytest.mark.parametrize("temporal", ADAPTIVE)
def test_recorded_gate_and_kernel_reproduce_output(temporal):
    model = make_model(temporal)
    seen = {}
    for site in last_sites(model):
        module = site.module.temporal
        module.register_forward_hook(lambda module, x, y, name=site.name: seen.update({name: (x[0], y)}))
    _, found = record_batch(model, make_views())
    assert [site.stage for site, _ in found] == ["res2", "res3", "res4", "res5"]
    for site, (gate, kernel) in found:
        x, y = seen[site.name]
        if kernel is None:
            made = apply_gate(x, gate)
        elif temporal == "tanet-r":
            made = apply_gate(adaptive_conv(x, kernel), gate)
        else:
            made = adaptive_conv(x, kernel, gate=gate)
        torch.testing.assert_close(made, y)
        for part in (gate, kernel):
            assert part is None or (part[0] - part[1]).abs().max() > 0  # the values differ between clips


def test_recording_fused_modules_gives_same_values_and_changes_nothing():
    model = make_model("tam")
    scores, plain = record_batch(model, make_views())
    fused = Checkpoint(copy.deepcopy(model.network), model.recipe, model.classes)
    assert fused.network.absorb_batch_norms() > 0
    before = copy.deepcopy(fused.network.state_dict())
    again, taken = record_batch(fused, make_views())
    torch.testing.assert_close(again, scores)
    for (_, one), (_, other) in zip(plain, taken, strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(before[name], value) for name, value in fused.network.state_dict().items())
    assert not any(module._forward_pre_hooks for site, _ in taken for module in [site.module.temporal])


def test_recording_covers_available_or_chosen_stages():
    model = make_model("tam", stages=("res3", "res5"))
    assert [site.stage for site, _ in record_batch(model, make_views(1))[1]] == ["res3", "res5"]
    assert [site.name for site in last_sites(model, stages=["res5"])] == ["layer4.1.conv2"]
    with pytest.raises(ValueError, match="'tam' is in no block of res4"):
        record_batch(model, make_views(1), stages=["res4"])


@pytest.mark.parametrize("temporal", sorted(set(TEMPORAL) - set(ADAPTIVE)))
def test_modules_without_gate_and_kernel_are_rejected(temporal, tmp_path):
    with pytest.raises(ValueError, match=f"no TAM: its temporal module '{temporal}'"):
        record_clip(make_model(temporal), Sample(str(make(tmp_path / "a.mp4")), 0))


def test_recorded_clip_is_the_evaluation_clip(tmp_path):
    model = make_model("tam")
    clip = record_clip(model, Sample(str(make(tmp_path / "a.mp4")), 0), truth="b")
    assert clip.frames.shape == (4, 3, 32, 32)
    scores, found = record_batch(model, clip.frames[None])
    assert clip.label == model.classes[scores[0].argmax()]
    assert clip.score == pytest.approx(scores.max().item())
    assert torch.equal(clip.adaptations[3].kernel, found[3][1][1][0])
    assert clip.adaptations[3].gate.shape == (128, 4)


def test_motion_is_mean_difference_of_adjacent_frames():
    frames = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    frames[1, :, :2] = 255  # half of the pixels change once
    frames[2, :, :2] = 255
    assert make_clip(None, frames).motion == pytest.approx(0.25)
    assert make_clip(None, frames[:1]).motion == 0


def test_fixed_kernels_are_shares_of_absolute_weights():
    assert torch.equal(
        tap_shares(torch.tensor([[-1.0, 2.0, 1.0], [0.0, 0.0, 0.0]])), torch.tensor([[0.25, 0.5, 0.25]])
    )
    model = make_model("i3d")
    first = model.network.backbone.layer4[1].conv1
    with torch.no_grad():  # weights of the frame itself, the frame before and the frame after
        first.weight.fill_(2)
        first.temporal.taps_conv.weight[: first.out_channels].fill_(-1)
        first.temporal.taps_conv.weight[first.out_channels :].fill_(5)
    (kernels,) = fixed_kernels(model, stages=["res5"])
    assert torch.equal(kernels.shares.unique(dim=0), torch.tensor([[0.125, 0.25, 0.625]]))
    assert len(kernels.shares) == first.weight.numel()


@pytest.mark.parametrize("temporal", FIXED)
def test_every_module_with_fixed_kernels_returns_them(temporal):
    for kernels in fixed_kernels(make_model(temporal)):
        torch.testing.assert_close(kernels.shares.sum(1), torch.ones(len(kernels.shares)))
        assert kernels.shares.shape[1] == 3


def test_module_without_fixed_kernels_is_rejected():
    with pytest.raises(ValueError, match=r"'tam' does not learn fixed kernels .* one of i3d"):
        fixed_kernels(make_model("tam"))


def test_rank_correlation_of_known_values():
    assert rank_correlation([1, 2, 3, 9], [0.1, 5, 6, 7]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 9], [4, 3, 2, -8]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    # Equal numbers share a rank in any order: 1.5, 1.5, 3 against 1, 2, 3.
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(0.75**0.5)
    assert rank_correlation([1, 1, 2], [2, 1, 3]) == pytest.approx(0.75**0.5)
    assert rank_correlation([1, 2, 3], [1e9 + 1, 1e9 + 2, 1e9 + 3]) == pytest.approx(1)
    assert rank_correlation([1, 2], [1, 2]) != rank_correlation([1, 2], [1, 2])  # nan


def test_limit_takes_samples_of_every_class():
    samples = [Sample(str(number), label) for number, label in enumerate([0, 0, 0, 0, 1, 1, 2])]
    assert [sample.path for sample in spread_over_classes(samples, limit=5)] == ["0", "1", "4", "5", "6"]
    assert spread_over_classes(samples, limit=99) == samples


def test_captions_contain_statistics_of_clips():
    still, moving = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    moving[1] = 255
    low, high = torch.tensor([[0.5, 0.25, 0.25]] * 4), torch.tensor([[0.0, 1.0, 0.0]] * 4)
    clips = [make_clip(low, still), make_clip(high, moving)]
    assert captions.quarters([*clips, *clips, *clips, *clips])[0] == clips[:1] * 2
    assert "0.2500 and 1.0000" in captions.motion_caption(clips)
    assert "mean Θ 0.500 / 0.250 / 0.250" in captions.clip_caption(clips[0])
    assert "std 0.3536 over clips, 0.0000 over channels" in captions.kernels_caption(clips, [], against="")


def test_recording_uses_precision_of_recipe(monkeypatch):
    asked = []

    def recorded(device, precision):
        asked.append(precision)
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    monkeypatch.setattr("tanet.visualization.record.autocast", recorded)
    found = {}
    for precision in ("float32", "bfloat16"):
        model = make_model("tam")
        recipe = replace(model.recipe, optim=replace(model.recipe.optim, precision=precision))
        model = replace(model, recipe=recipe)
        found[precision], _ = record_batch(model, make_views())
    assert asked == ["float32", "bfloat16"]
    assert not found["float32"].equal(found["bfloat16"])
