"""Figures show the recorded gates and kernels, can be saved in every format, and need matplotlib."""

import builtins

import pytest
import torch

from tanet.visualization import figures
from tanet.visualization.fixed_kernels import FixedKernels
from tanet.visualization.pair_figure import Recorded, distance, pair_figure
from tanet.visualization.record import RecordedClip, SiteRecord

matplotlib = pytest.importorskip("matplotlib")


def make_clip(seed, *, gate=True, kernel=True, taps=3):
    generator = torch.Generator().manual_seed(seed)
    parts = tuple(
        SiteRecord(
            f"layer{stage}.1.conv2",
            f"res{stage + 1}",
            torch.rand(6, 4, generator=generator) if gate else None,
            torch.rand(6, taps, generator=generator).softmax(1) if kernel else None,
        )
        for stage in (3, 4)
    )
    frames = torch.randint(0, 256, (4, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return RecordedClip(f"folder/{seed}.mp4", "jump", "run", 0.5, frames, parts)


def figure_text(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_sorted_gates_are_drawn_below_frames():
    clip = make_clip(0)
    figure = figures.clip_figure(clip)
    strip, *maps = [axes for axes in figure.axes if axes.images]
    assert len(strip.images) == 4
    assert torch.equal(torch.from_numpy(strip.images[2].get_array()), clip.frames[2].permute(1, 2, 0))
    shown = torch.from_numpy(maps[0].images[0].get_array())
    assert sorted(shown.flatten().tolist()) == sorted(clip.adaptations[0].gate.flatten().tolist())
    assert (shown.mean(1).diff() <= 0).all()
    figure.draw_without_rendering()
    for number in range(4):  # frame n is above column n of the gates
        above = strip.transData.transform((number + 0.5, 0))[0]
        assert above == pytest.approx(maps[0].transData.transform((number, 0))[0], abs=12)
    assert "0.mp4: run 50%, labelled jump" in figure_text(figure)
    assert "layer3.1.conv2" in figure_text(figure)


@pytest.mark.parametrize(("gate", "kernel"), [(True, False), (False, True)])
def test_missing_gate_or_kernel_is_not_drawn(gate, kernel):
    figure = figures.clip_figure(make_clip(0, gate=gate, kernel=kernel))
    assert ("gate V:" in figure_text(figure)) is gate
    assert ("kernel Θ:" in figure_text(figure)) is kernel
    figures.gate_figure([make_clip(0, gate=gate, kernel=kernel)]).draw_without_rendering()


def test_weights_below_0_or_above_1_are_inside_the_axes():
    """Static kernels lead to such weights."""
    clips = [make_clip(seed) for seed in (0, 1)]
    clips[1].adaptations[1].kernel[2] += torch.tensor([-0.9, 0.0, 1.2])
    parts = [part.kernel for clip in clips for part in clip.adaptations]
    least, most = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    assert least < -0.4
    assert most > 1.2
    pair = [Recorded(str(number), [clip]) for number, clip in enumerate(clips)]
    for figure, count in ((figures.gate_figure(clips), 4), (pair_figure(*pair), 4)):
        kernels = [axes for axes in figure.axes if "Θ" in axes.get_ylabel()]
        assert len(kernels) == count
        assert all(axes.get_ylim()[0] < least and most < axes.get_ylim()[1] for axes in kernels)
    plain = figures.gate_figure([make_clip(0)]).axes
    assert {axes.get_ylim() for axes in plain if "Θ" in axes.get_ylabel()} == {figures.GATE_LIMITS}


def test_kernel_figure_has_columns_for_clips_all_and_fixed_kernels():
    clips = [make_clip(seed) for seed in range(5)]
    # All kernels are equal, and there are none in res4.
    fixed = [FixedKernels("x", "res5", torch.full((7, 3), 1 / 3))]
    figure = figures.kernel_figure(clips[:2], clips, fixed, against="i3d")
    heads, res4, res5 = 4, 3, 4
    assert len(figure.axes) == heads + res4 + res5
    assert "5 clips" in figure_text(figure)
    assert "i3d in res5: median share 0.333 / 0.333 / 0.333" in " ".join(figure_text(figure).split())
    figure.draw_without_rendering()


def test_wide_kernels_have_one_label_per_tap():
    clips = [make_clip(seed, taps=5) for seed in range(4)]
    figure = figures.motion_figure(clips)
    for name in ("t−2", "t−1", "t", "t+1", "t+2"):
        assert f"weight at {name}" in figure_text(figure)


def test_bars_use_all_values_although_violins_use_a_sample(monkeypatch):
    monkeypatch.setattr(figures, "MOST", 10)
    values = torch.rand(1001, 3, generator=torch.Generator().manual_seed(0))
    values[1], values[2] = -7, 9  # a sample of every hundredth value contains neither
    axes = matplotlib.figure.Figure().add_subplot()
    figures.draw_violins(axes, values, taps=True)
    median = values.median(0).values.tolist()
    heights = {path.vertices[:, 1].min() for lines in axes.collections[3:] for path in lines.get_paths()}
    assert sorted(heights) == pytest.approx([-7.0, *sorted(median), 9.0])


@pytest.mark.parametrize("suffix", figures.SUFFIXES)
def test_figure_is_saved_in_every_format(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    figures.clip_figure(make_clip(0)).savefig(path)
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)


def test_missing_matplotlib_gives_install_hint(monkeypatch):
    real = builtins.__import__

    def import_without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_without_matplotlib)
    with pytest.raises(ValueError, match=r"not installed: pip install matplotlib, or tanet\[plots\]"):
        figures.require_plots()


def test_distance_is_that_of_distributions():
    torch.manual_seed(0)
    one = torch.rand(4, 50, 3)
    assert distance(one, one[[3, 1, 0, 2]][:, torch.randperm(50)]) == 0
    assert distance(one, one + 0.25) == pytest.approx(0.25)
    wide = 0.5 + 2 * (torch.rand(4, 5000, 3) - 0.5)
    assert distance(torch.rand(4, 5000, 3), wide) == pytest.approx(0.25, abs=0.02)
