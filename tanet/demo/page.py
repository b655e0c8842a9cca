"""Report of the demo: an HTML page that shows frames of videos and the predictions of the two networks."""

import base64
import html
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from tanet.data.frame_sampling import middle_indices
from tanet.evaluation.report import Report
from tanet.runtime.files import text_bytes, write_atomically
from tanet.video import open_video

COMPARED = {"tam": "TANet", "none": "2D network"}

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>tanet demo</title>
<style>
:root {{ color-scheme: light dark; --right: #1a7f37; --wrong: #c93c37; --bar: #4078c0; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ margin-bottom: 0; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: .35rem .7rem .35rem 0; vertical-align: middle; }}
tr + tr td {{ border-top: 1px solid #8884; }}
img {{ display: block; width: 100%; min-width: 28rem; border-radius: 4px; }}
.right {{ color: var(--right); }} .wrong {{ color: var(--wrong); }}
.bar {{ background: #8883; border-radius: 4px; margin: .2rem 0 .8rem; }}
.bar div {{ background: var(--bar); color: white; border-radius: 4px; padding: .1rem .6rem; }}
* {{ box-sizing: border-box; }}
.strips {{ overflow-x: auto; }}
small {{ opacity: .7; }}
</style>
<h1>Which way does time run?</h1>
<p>The verbs below come in pairs: a clip of one verb, played backwards, is a clip of the other, with the
same frames. A network that ignores the order of frames can be right only half the time. Both networks are
{backbone}, trained on the same {train} videos with the same recipe, and tested on {val} other videos.
</p>
{bars}
<h2>One validation clip for each verb</h2>
<div class="strips"><table><tr><th>frames</th><th>verb</th>{heads}</tr>
{rows}
</table></div>
</html>
"""


def write_page(path: str | Path, reports: Mapping[str, Report], *, backbone: str, train: int) -> Path:
    """Write the page and return its path.

    Args:
        path: HTML file to write.
        reports: test results of each network, all on the same videos. The keys are those of `COMPARED`.
        backbone: name of the 2D network.
        train: number of training videos.
    """
    first = next(iter(reports.values()))
    examples = [first.labels.tolist().index(label) for label in sorted(set(first.labels.tolist()))]
    page = PAGE.format(
        backbone=backbone,
        train=train,
        val=len(first.samples),
        bars="".join(_bar(COMPARED[name], report.accuracy.top1) for name, report in reports.items()),
        heads="".join(f"<th>{COMPARED[name]}</th>" for name in reports),
        rows="\n".join(_row(reports, number) for number in examples),
    )
    write_atomically(path, text_bytes(page))
    return Path(path)


def film_strip(video: str | Path, *, frames: int = 8, gap: int = 4) -> np.ndarray:
    """Draw frames of a video side by side, in one image: uint8 [H, W', 3].

    The frames are spread evenly over the video. Gaps of `gap` white pixels separate them.
    """
    with open_video(video) as clip:
        pictures = clip.read(middle_indices(clip.frames, frames=frames, sampling="uniform"))  # [T, H, W, 3]
    padded = torch.nn.functional.pad(pictures, (0, 0, 0, gap), value=255)
    return padded.transpose(0, 1).flatten(1, 2)[:, :-gap].numpy()


def encode_png(image: np.ndarray) -> bytes:
    """Encode an image, uint8 [H, W, 3], as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = image.shape
    # Each row of a PNG image begins with the number of its filter. The number 0 means no filter.
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bar(name: str, part: float) -> str:
    return f'<b>{name}</b><div class="bar"><div style="width:{part:.1%}">{part:.1%}</div></div>'


def _row(reports: Mapping[str, Report], number: int) -> str:
    first = next(iter(reports.values()))
    sample = first.samples[number]
    picture = base64.b64encode(encode_png(film_strip(sample.path))).decode()
    label = html.escape(first.classes[sample.label])
    cells = "".join(_answer(report, number) for report in reports.values())
    return (
        f'<tr><td><img alt="{label}, eight frames" src="data:image/png;base64,{picture}"></td>'
        f"<td>{label}</td>{cells}</tr>"
    )


def _answer(report: Report, number: int) -> str:
    score, answer = report.scores[number].max(0)
    right = int(answer) == report.samples[number].label
    name = html.escape(report.classes[int(answer)])
    return f'<td class="{"right" if right else "wrong"}">{name}<br><small>{score:.0%}</small></td>'
