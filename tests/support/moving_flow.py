"""Videos and stored flow of a texture that moves to the right by 2 pixels per frame."""

from pathlib import Path

import numpy as np

from bench import flow as benchmark
from tanet import synthetic
from tanet.data.tools.flow import FlowSettings, write_flow_of_video


def moving_texture(frames: int) -> np.ndarray:
    """Return grey frames, uint8 [T, 96, 128]."""
    return benchmark.moving_texture(frames, height=96, width=128)


def write_video(path: Path, frames: int) -> Path:
    """Write a video of the texture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    synthetic.write_video(path, np.repeat(moving_texture(frames)[..., None], 3, axis=3))
    return path


def write_flow(path: Path, folder: Path, *, layout: str = "xy") -> Path:
    """Compute the flow of a video and write it to a folder."""
    settings = FlowSettings(layout=layout, width=0, height=0, quality=100)  # type: ignore[arg-type]
    folder.parent.mkdir(parents=True, exist_ok=True)
    assert isinstance(write_flow_of_video(path, folders={path: folder}, settings=settings), int)
    return folder


def write_numbered_flow(folder: Path, count: int, *, pattern: str = "flow_{axis}_{number:05d}.jpg") -> Path:
    """Write pictures of flow whose x is 10 times the number of the flow, and whose y is 100 more."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        for i, axis in enumerate("xy"):
            picture = np.full((32, 48), 10 * number + 100 * i, np.uint8)
            name = pattern.format(axis=axis, number=number + 1)
            assert cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    return folder
