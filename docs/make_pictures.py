"""Draw the pictures of README and docs/cost.md → docs/verbs.png, docs/speed.svg.

    python -m docs.make_pictures

`verbs.png` shows the first verb of each pair of synthetic verbs: eight frames of one clip. `speed.svg` plots
throughput against frames per clip and against batch size. Its values come from results/speed.csv, as written
by `python -m bench speed --part frames` and `--part batch`.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10
from pathlib import Path

import numpy as np

from bench.common import ROOT, read_csv
from tanet.demo.page import encode_png, film_strip
from tanet.synthetic import PAIRS, Difficulty, render, write_video

DOCS = ROOT / "docs"
BACKBONE = "resnet50"
VERBS_SEED, STRIP_GAP = 2, 4

WIDTH, HEIGHT, GAP = 360, 220, 90  # size of a panel and gap between panels, in pixels
LINES = {"c2d": ("C2D", "#888888"), "tanet": ("TANet", "#c0392b")}
# Number of frames or clips → throughput: 20th, 50th and 80th percentile.
Points = dict[int, tuple[float, float, float]]


@dataclass(frozen=True)
class Panel:
    """One diagram: its title, the labels of its axes (`across`, `up`), and its lines."""

    title: str
    across: str
    up: str
    lines: dict[str, Points]


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    (DOCS / "verbs.png").write_bytes(verbs())
    (DOCS / "speed.svg").write_text(speed())


def verbs() -> bytes:
    """Return a PNG with one strip of frames per verb."""
    strips = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (verb, _) in enumerate(PAIRS):
            # Draw without sensor noise. The noise would be invisible here, but would make the file larger.
            generator = np.random.default_rng((VERBS_SEED, number))
            clip = render(verb, difficulty=Difficulty(noise=0), generator=generator)
            video = Path(folder) / f"{verb}.mp4"
            write_video(video, clip)
            strips.append(np.pad(film_strip(video), ((0, STRIP_GAP), (0, 0), (0, 0)), constant_values=255))
    return encode_png(np.concatenate(strips)[:-STRIP_GAP])


def speed() -> str:
    """Return an SVG of throughput against frames per clip and against batch size."""
    rows = [row for row in read_csv(ROOT / "results" / "speed.csv") if row["backbone"] == BACKBONE]
    # The first panel plots images per second, because its clips differ in length (8 to 64 frames).
    panels = [
        Panel("256 images a batch", "frames of a clip", "images/s", lines(rows, "frames", "frames")),
        Panel("8 frames a clip", "clips of a batch", "clips/s", lines(rows, "batch", "clips")),
    ]
    machine = next(row["machine"] for row in rows if row["part"] == "frames")
    return picture(panels, caption=f"{BACKBONE}, inference, bfloat16, {machine}")


def lines(rows: Sequence[dict[str, str]], part: str, key: str) -> dict[str, Points]:
    """Return the points of each network from the rows of one part of the benchmark."""
    found: dict[str, Points] = {network: {} for network in LINES}
    for row in rows:
        if row["part"] == part and row["network"] in found:
            scale = int(row["frames"]) if key == "frames" else 1
            p20, p50, p80 = (scale * float(row[f"clips_s_{p}"]) for p in ("p20", "p50", "p80"))
            found[row["network"]][int(row[key])] = (p20, p50, p80)
    return found


def picture(panels: Sequence[Panel], *, caption: str) -> str:
    """Return an SVG with the panels side by side."""
    width = len(panels) * (WIDTH + GAP) + 20
    height = HEIGHT + 110
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(width / 2, height - 10, caption),
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({GAP - 15 + number * (WIDTH + GAP)} 35)">', *draw(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def draw(panel: Panel) -> list[str]:
    """Return the SVG elements of a panel. x has equal steps, like a logarithmic axis; y starts at 0."""
    across = sorted({at for points in panel.lines.values() for at in points})
    highest = max(p80 for points in panel.lines.values() for _, _, p80 in points.values())
    step = tick(highest)
    top = step * ceil(highest / step)
    x = {at: WIDTH * (number + 0.5) / len(across) for number, at in enumerate(across)}

    def y(rate: float) -> float:
        return HEIGHT * (1 - rate / top)

    parts = [text(WIDTH / 2, -15, panel.title, weight="bold"), text(WIDTH / 2, HEIGHT + 40, panel.across)]
    parts.append(text(-5, -15, panel.up, anchor="end"))
    for number in range(round(top / step) + 1):
        rate = number * step
        parts.append(f'<path d="M0 {y(rate):.1f}H{WIDTH}" stroke="#dddddd"/>')
        parts.append(text(-8, y(rate) + 4, f"{rate:,.0f}", anchor="end"))
    parts += [text(x[at], HEIGHT + 18, str(at)) for at in across]
    for number, (network, points) in enumerate(panel.lines.items()):
        label, colour = LINES[network]
        for one, other in pairwise(sorted(points)):
            ends = f"M{x[one]:.1f} {y(points[one][1]):.1f}L{x[other]:.1f} {y(points[other][1]):.1f}"
            parts.append(f'<path d="{ends}" stroke="{colour}" stroke-width="2"/>')
        for at, (p20, p50, p80) in points.items():
            # The vertical bar goes from the 20th to the 80th percentile.
            parts.append(f'<path d="M{x[at]:.1f} {y(p20):.1f}V{y(p80):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x[at]:.1f}" cy="{y(p50):.1f}" r="3.5" fill="{colour}"/>')
        below = HEIGHT - 14 - 18 * number
        parts.append(f'<circle cx="{WIDTH - 80}" cy="{below}" r="3.5" fill="{colour}"/>')
        parts.append(text(WIDTH - 70, below + 4, label, anchor="start"))
    return parts


def tick(highest: float) -> float:
    """Return the step between grid lines: 1, 2 or 5 times a power of ten, for at most eight steps."""
    power = 10.0 ** int(log10(highest) - 1)
    return next(factor * power for factor in (1, 2, 5, 10, 20, 50) if highest / (factor * power) <= 8)


def text(x: float, y: float, what: str, *, anchor: str = "middle", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{what}</text>'


if __name__ == "__main__":
    main()
