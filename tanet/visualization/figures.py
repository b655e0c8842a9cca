"""Pictures of TAM's gates and kernels, for `tanet show`. They need matplotlib (optional extra `plots`).

    clip_figure      frames of one clip, with gates below the frames and kernels at the right
    kernel_figure    violins of kernels of single clips and all clips, and of fixed kernels (paper's Figure 4)
    gate_figure      violins of gates and kernels of single clips, below the frames (paper's Figures 5 and 6)
    motion_figure    histograms of kernels for small and for large motion (paper's Figures 7 and 8)

Each function returns a matplotlib Figure without a window. The caption (captions.py) is part of the figure.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tanet.errors import UserError
from tanet.visualization import captions
from tanet.visualization.captions import center_weight, kernel_of, quarters
from tanet.visualization.fixed_kernels import FixedKernels
from tanet.visualization.record import RecordedClip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of past, present and future frames, which colour-blind readers can distinguish (Okabe and Ito).
PAST, PRESENT, FUTURE = "#0072B2", "#7F7F7F", "#D55E00"
SMALL, LARGE = "#56B4E9", "#D55E00"
WIDTH = 10.0  # inches; the pictures in README.md are WIDTH · DPI pixels wide
DPI = 110
MOST = 20_000  # largest number of values per violin; more values would not change the picture visibly
GATE_LIMITS = (-0.03, 1.03)  # vertical axis of gates
LABELS = 16  # largest number of frames that all get a label
SUFFIXES = (".png", ".pdf", ".svg")


def require_plots() -> None:
    """Check that matplotlib is installed. Otherwise, raise a UserError that says what to install."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError("matplotlib is not installed: pip install matplotlib, or tanet[plots]") from error


def clip_figure(clip: RecordedClip) -> "Figure":
    """Draw the frames of a clip, the gates of each stage below the frames, and the kernels at the right."""
    stages = clip.adaptations
    # In inches. With this height, the frames are square and together as wide as the gates.
    strip_height = 7 / len(clip.frames)
    figure = empty_figure(1.2 + strip_height + 1.4 * len(stages), captions.clip_caption(clip))
    columns = [4.2, 0.12, 1.3] if any(part.gate is not None for part in stages) else [4.2, 0.001, 1.3]
    heights = [strip_height] + [1.1] * len(stages)
    grid = figure.add_gridspec(1 + len(stages), 3, height_ratios=heights, width_ratios=columns)
    strip = figure.add_subplot(grid[0, 0])
    _strip(strip, clip.frames)
    truth = f", labelled {clip.truth}" if clip.truth else ""
    figure.suptitle(f"{_short(clip.video)}: {clip.label} {clip.score:.0%}{truth}", fontweight="bold")
    for row, part in enumerate(stages, start=1):
        title = f"{part.stage}, {part.site}"
        if part.gate is not None:
            axes = figure.add_subplot(grid[row, 0])
            picture = _heat_map(axes, part.gate)
            figure.colorbar(picture, cax=figure.add_subplot(grid[row, 1]))
            channels, steps = part.gate.shape
            fewer = "" if steps == len(clip.frames) else f", {steps} time steps"
            axes.set_title(f"gate V: {title}, {channels} channels{fewer}", fontsize=9)
            if row == len(stages):
                axes.set_xlabel("time step" if fewer else "frame of the clip")
        if part.kernel is not None:
            axes = figure.add_subplot(grid[row, 2])
            draw_violins(axes, part.kernel, taps=True)
            axes.set_title(f"kernel Θ: {part.stage}", fontsize=9)
            axes.set_ylabel("weight", fontsize=8)
    return figure


def kernel_figure(
    clips: Sequence[RecordedClip],
    everything: Sequence[RecordedClip],
    fixed: Sequence[FixedKernels],
    *,
    against: str,
) -> "Figure":
    """Draw one violin per tap of the kernels.

    Each row shows a stage. The columns show single clips, all clips together, and fixed kernels.

    Args:
        clips: clips to draw, each in its own column.
        everything: all clips, which are pooled in one column.
        fixed: fixed kernels of another network at the same stages; may be empty.
        against: name of the temporal module of the other network.
    """
    stages = [part.stage for part in clips[0].adaptations]
    figure = empty_figure(
        1.9 + 1.9 * len(stages), captions.kernels_caption(everything, fixed, against=against)
    )
    figure.suptitle("Kernels Θ of single clips and of all clips", fontweight="bold")
    heads = [f"{len(everything)} clips"]
    if fixed:
        heads.append(f"{against}:\nthe same for all clips\n|w| as shares")
    columns = len(clips) + len(heads)
    grid = figure.add_gridspec(1 + len(stages), columns, height_ratios=[1.0] + [1.6] * len(stages))
    for column, clip in enumerate(clips):
        _picture(figure.add_subplot(grid[0, column]), clip)
    for column, text in enumerate(heads, start=len(clips)):
        axes = figure.add_subplot(grid[0, column])
        axes.axis("off")
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
    for row, stage in enumerate(stages):
        parts = [kernel_of(clip, row) for clip in clips]
        parts.append(torch.cat([kernel_of(clip, row) for clip in everything]))
        parts += [kernels.shares for kernels in fixed if kernels.stage == stage]
        first: Axes | None = None
        for column, values in enumerate(parts):
            axes = figure.add_subplot(grid[1 + row, column], sharey=first)
            draw_violins(axes, values, taps=True)
            if first is None:
                first = axes
                axes.set_ylabel(f"{stage}: weight Θ", fontsize=9)
            else:
                axes.tick_params(labelleft=False)
    return figure


def gate_figure(clips: Sequence[RecordedClip]) -> "Figure":
    """Draw each clip's frames and, below the frames, violins of its gates per frame and kernels per tap."""
    stages = clips[0].adaptations
    figure = empty_figure(1.0 + 1.95 * len(clips), captions.gates_caption(clips))
    figure.suptitle("Gate V by frame, kernel Θ by tap", fontweight="bold")
    grid = figure.add_gridspec(2 * len(clips), 2 * len(stages), height_ratios=[0.9, 1.0] * len(clips))
    limits = weight_limits([part.kernel for clip in clips for part in clip.adaptations])
    for row, clip in enumerate(clips):
        strip = figure.add_subplot(grid[2 * row, :])
        _strip(strip, clip.frames)
        strip.set_title(f"{clip.truth or _short(clip.video)}, motion {clip.motion:.1%}", fontsize=9)
        for column, part in enumerate(clip.adaptations):
            for side, values in enumerate((part.gate, part.kernel)):
                if values is None:
                    continue
                axes = figure.add_subplot(grid[2 * row + 1, 2 * column + side])
                draw_violins(axes, values, taps=bool(side), labels=LABELS // len(stages))
                axes.set_ylim(limits if side else GATE_LIMITS)
                axes.set_ylabel(f"{part.stage}: {'Θ' if side else 'V'}", fontsize=8)
    return figure


def motion_figure(clips: Sequence[RecordedClip]) -> "Figure":
    """Draw one row per stage: a histogram for each tap of Θ, and a scatter plot of motion and middle tap."""
    small, large = quarters(clips)
    stages = clips[0].adaptations
    taps = kernel_of(clips[0], 0).shape[1]
    figure = empty_figure(1.1 + 2.1 * len(stages), captions.motion_caption(clips))
    figure.suptitle("Kernels Θ of clips with small and with large motion", fontweight="bold")
    grid = figure.add_gridspec(len(stages), taps + 1)
    for row, part in enumerate(stages):
        pools = [torch.cat([kernel_of(clip, row) for clip in group]) for group in (small, large)]
        # Leave out the smallest and the largest 0.1 % of the weights, because they would stretch the axis.
        pooled = torch.cat(pools).flatten()
        low, high = (float(pooled.kthvalue(1 + int(q * (len(pooled) - 1))).values) for q in (0.001, 0.999))
        first: Axes | None = None
        for tap, name in enumerate(_tap_names(taps)):
            axes = figure.add_subplot(grid[row, tap], sharey=first, sharex=first)
            first = first or axes
            _histograms(axes, [pool[:, tap] for pool in pools], low=low, high=high)
            axes.set_xlabel(f"weight at {name}", fontsize=9)
            if tap == 0:
                axes.set_ylabel(f"{part.stage}: fraction of channels", fontsize=9)
            else:
                axes.tick_params(labelleft=False)
            if row == tap == 0:
                axes.legend(fontsize=8)
        axes = figure.add_subplot(grid[row, taps])
        motion = [100 * clip.motion for clip in clips]
        axes.scatter(motion, [center_weight(clip, row) for clip in clips], s=10, color=PRESENT)
        axes.set_xlabel("motion, % of brightness", fontsize=9)
        axes.set_ylabel("mean Θ at t", fontsize=9)
        axes.set_title("one point per clip", fontsize=8)
    return figure


def _histograms(axes: "Axes", pools: Sequence[torch.Tensor], *, low: float, high: float) -> None:
    """Draw a histogram of the weights for small motion and one for large motion. Each histogram sums to 1."""
    bins: Any = torch.linspace(low, high, 41).tolist()
    for pool, color, label in zip(pools, (SMALL, LARGE), ("small motion", "large motion"), strict=True):
        axes.hist(
            pool.tolist(),
            bins,
            weights=[1 / len(pool)] * len(pool),
            histtype="stepfilled",
            facecolor=(color, 0.3),
            edgecolor=color,
            linewidth=1.5,
            label=label,
        )


def empty_figure(height: float, caption: str) -> "Figure":
    """Return an empty figure with a caption below. The figure has no window and need not be closed."""
    from matplotlib.figure import Figure

    text = textwrap.fill(caption, 140)
    figure = Figure((WIDTH, height + 0.18 * text.count("\n")), dpi=DPI, layout="constrained")
    figure.supxlabel(text, fontsize=9, x=0.02, ha="left")
    return figure


def _strip(axes: "Axes", frames: torch.Tensor) -> None:
    """Draw the frames [T, 3, S, S] side by side with small gaps, and the frame numbers below."""
    for number, frame in enumerate(frames):
        image: Any = frame.permute(1, 2, 0).numpy()
        axes.imshow(image, extent=(number + 0.02, number + 0.98, 0, 0.96), aspect="auto")
    axes.set(xlim=(0, len(frames)), ylim=(0, 0.96), yticks=[])
    axes.set_xticks([number + 0.5 for number in range(len(frames))], _numbers(len(frames)), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal")


def _picture(axes: "Axes", clip: RecordedClip) -> None:
    """Draw the middle frame of a clip, with the class name and the file name as its title."""
    image: Any = clip.frames[len(clip.frames) // 2].permute(1, 2, 0).numpy()
    axes.imshow(image)
    axes.set_title(f"{clip.truth or clip.label}\n{_short(clip.video)}", fontsize=8)
    axes.axis("off")


def _heat_map(axes: "Axes", gate: torch.Tensor) -> Any:
    """Draw gates [C, T] as a heat map. The channels are sorted by mean, with the largest mean on top."""
    values: Any = gate[gate.mean(1).argsort(descending=True)].numpy()
    picture = axes.imshow(values, aspect="auto", interpolation="nearest", cmap="cividis")
    axes.set_yticks([])
    axes.set_ylabel("channels by mean", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_xticks(range(gate.shape[1]), _numbers(gate.shape[1]))
    return picture


def weight_limits(kernels: Iterable[torch.Tensor | None]) -> tuple[float, float]:
    """Return the vertical limits for kernels: 0 … 1, or wider if weights lie outside (static kernels)."""
    values = torch.cat([torch.tensor([0.0, 1.0]), *(k.flatten() for k in kernels if k is not None)])
    low, high = float(values.min()), float(values.max())
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def draw_violins(axes: "Axes", values: torch.Tensor, *, taps: bool, labels: int = LABELS) -> None:
    """Draw a violin per column of `values` [channels, taps or frames], with bars at min, median and max."""
    shown = values[:: max(1, len(values) // MOST)].T.tolist()  # [columns, channels]
    count, places = len(shown), range(1, len(shown) + 1)
    bodies: Any = []
    if all(len(set(column)) > 1 for column in shown):  # a violin needs values that differ
        bodies = axes.violinplot(shown, widths=0.85, showextrema=False)["bodies"]
    least, most = values.min(0).values.tolist(), values.max(0).values.tolist()
    axes.vlines(places, least, most, color="black", linewidth=0.9)
    for heights in (least, values.median(0).values.tolist(), most):
        left, right = ([place + side for place in places] for side in (-0.21, 0.21))
        axes.hlines(heights, left, right, color="black", linewidth=0.9)
    for number, body in enumerate(bodies):
        side = (number > count // 2) - (number < count // 2)
        body.set(facecolor=(PRESENT, FUTURE, PAST)[side] if taps else "#009E73", alpha=0.75)
    axes.set_xticks(places, _tap_names(count) if taps else _numbers(count, most=labels))
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _numbers(count: int, *, most: int = LABELS) -> list[str]:
    """Return the numbers of frames as labels. If there are more than `most`, only some have a label."""
    every = -(-count // most)
    return [str(t) if t % every == 0 else "" for t in range(count)]


def _tap_names(taps: int) -> list[str]:
    """Return the names of the taps, for example t−1, t and t+1 for three taps."""
    names = [f"t{k - taps // 2:+d}".replace("-", "−") for k in range(taps)]
    names[taps // 2] = "t"
    return names


def _short(video: str) -> str:
    """Return the file name of a video. Shorten a long name by leaving out its middle."""
    name = video.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name if len(name) <= 24 else f"{name[:12]}…{name[-11:]}"
