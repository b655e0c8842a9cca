"""Compare resizing and cropping inside exported networks with that of `tanet test`, for many frame sizes.

    pip install 'tanet[onnx,openvino]' && python -m bench frame_input

`error` is the largest difference of a pixel, in grey levels (0 … 255), between the views that the file makes
and those of `tanet test`, for random pictures with detail of all scales; `mean_error` is the mean difference.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from bench.export import checkpoint_of, networks
from tanet.checkpoints.exported.formats import FORMATS, FormatName, open_exported
from tanet.data.views import cut_views
from tanet.inference.export.export import prepare
from tanet.inference.export.frame_input import FrameInput
from tanet.inference.export.writers import WRITERS, trace

PACKAGES = ("torch", "onnxruntime", "openvino")
SIDES = (240, 256, 360, 480, 540, 720, 1080, 1440, 2160)
SHAPES = ((16, 9), (4, 3), (3, 4), (9, 16), (1, 1))
STYLES = ("tanet", "mmaction2", "pyslowfast")


class Views(nn.Module):
    """Only the preparation: uint8 frames → views as float32, which all runtimes can return."""

    def __init__(self, frame_input: FrameInput) -> None:
        super().__init__()
        self.frame_input = frame_input

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.frame_input.views(frames).float()


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", nargs="+", choices=list(FORMATS), default=["onnx", "openvino"])
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="short sides, in pixels")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for to in flags.to:
        for style in flags.styles:
            yield from rows_of(to, style, flags.sides)


def rows_of(to: FormatName, style: str, sides: list[int]) -> Iterator[dict[str, object]]:
    model = checkpoint_of(networks()["none"], size=224)
    eval = replace(model.recipe.eval, resize=256, size=224, style=style)
    model = replace(model, recipe=replace(model.recipe, eval=eval))
    job = prepare(model, to, input="frames", size=None, any_size=False)
    assert isinstance(job.module, FrameInput)
    views = Views(job.module)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"views{FORMATS[to].suffix}"
        WRITERS[to](trace(views, job.inputs), path, inputs=job.inputs, metadata=job.metadata)
        file = open_exported(path)
        for side in sides:
            for across, down in SHAPES:
                height, width = (side * part // min(across, down) for part in (down, across))
                frames = picture(height, width)[None, None].expand(1, job.inputs.frames, -1, -1, -1)
                frames = frames.contiguous()
                errors = (file(frames) - cut_views(frames, eval).float()).abs()
                yield {
                    "to": to,
                    "style": style,
                    "height": height,
                    "width": width,
                    "error": int(errors.max()),
                    "mean_error": f"{errors.mean().item():.4f}",
                }


def picture(height: int, width: int) -> torch.Tensor:
    """Draw noise of all scales, as in photographs: uint8 [height, width, 3]."""
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    total = torch.zeros(1, 3, height, width)
    for scale in (2, 8, 32, 128):
        coarse = torch.rand(
            1, 3, max(2, -(-height // scale)), max(2, -(-width // scale)), generator=generator
        )
        total += F.interpolate(coarse, (height, width), mode="bilinear") * scale**0.5
    total = (total - total.min()) / (total.max() - total.min())
    return (255 * total[0]).round().to(torch.uint8).permute(1, 2, 0)
