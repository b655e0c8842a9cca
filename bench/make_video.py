"""A synthetic video for the benchmarks, with the size and the length of a Kinetics video."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np


def make_clip(path: Path, *, codec: str, group: int, options: dict[str, str]) -> Path:
    """Write a video of a moving texture (ten seconds, 340x256), and return its path.

    The distance from one key frame to the next is `group` frames.
    """
    y, x = np.mgrid[:256, :340]
    noise = np.random.default_rng(0).integers(0, 256, (512, 680), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = cast("av.VideoStream", container.add_stream(codec, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        stream.codec_context.gop_size = group
        stream.codec_context.time_base = Fraction(1, 25)
        for number in range(250):
            wave = 60 * np.sin((x + 3 * number) / 17) + 60 * np.cos((y - 2 * number) / 23)
            texture = noise[number : number + 256, 2 * (number % 150) :][:, :340] // 6
            gray = (100 + wave + texture).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(
                np.stack([gray, gray[::-1], gray[:, ::-1]], -1), format="rgb24"
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
