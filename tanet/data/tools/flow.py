"""Compute the optical flow of videos, and write it as folders of pictures: `tanet data flow`.

The folder of a video gets its final name once all of its flow is on the disk. So a run that was stopped,
even by a power failure, can continue, and a folder under its final name is complete. Layouts:

    xy     flow_x_00001.jpg, flow_y_00001.jpg, …: two grey pictures per flow, as TSN's dense_flow writes them
    rgb    000001.jpg, …: one picture per flow, red x, green y, blue 128, as TRN's flow of Something-Something
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tanet.data.flow_location import SETTINGS, flow_name
from tanet.data.flow_video import find_flow
from tanet.data.optical_flow import Method, flow_between, flow_to_bytes, import_opencv
from tanet.errors import UserError
from tanet.runtime.files import json_bytes, sync_folder, write_atomically
from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import VideoError, open_video

Layout = Literal["xy", "rgb"]
UNFINISHED = ".part"


@dataclass(frozen=True)
class FlowSettings:
    """How flow is computed and stored. Written to flow.json beside the folders."""

    method: Method = "dis"
    layout: Layout = "xy"
    width: int = 340
    """Width to which frames are resized first. If width and height are 0, frames keep their size."""
    height: int = 256
    quality: int = 95
    """JPEG quality."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality must be in the range 1 to 100, not {self.quality}")
        sides = (self.width, self.height)
        if sides != (0, 0) and not all(16 <= side <= 16384 for side in sides):
            raise UserError(
                f"the size must be 0 0 or from 16 to 16384 pixels, not {self.width} {self.height}"
            )


def write_flow(
    videos: Sequence[Path], *, root: Path, out: Path, settings: FlowSettings, workers: int, limit: float
) -> Generator[tuple[Path, str | None], None, None]:
    """Compute and write the flow of videos.

    Args:
        videos: the videos. root/a/b.mp4 gets the folder out/a/b.
        root: folder of the videos.
        out: folder to write to.
        settings: how flow is computed and stored.
        workers: number of processes.
        limit: time limit for one video, in seconds.

    Yields:
        Each finished video, and None or the reason why it has no flow. Videos that an earlier run finished
        come first.

    Raises:
        UserError: two videos would get the same folder, a video is not below the root, or `out` has flow with
            other settings.
        OSError: the flow cannot be written.
    """
    folders = {video: out / flow_name(video, root) for video in videos}
    twice = [folder for folder, count in Counter(folders.values()).items() if count > 1]
    if twice:
        both = ", ".join(str(video) for video, folder in folders.items() if folder == twice[0])
        raise UserError(f"{both}: these videos would get the same folder {twice[0]}: rename one of them")
    import_opencv(settings.method)
    _keep_settings(out, settings)
    finished = {video for video in videos if _is_complete(folders[video])}
    todo = [video for video in videos if video not in finished]
    yield from ((video, None) for video in videos if video in finished)
    work = partial(write_flow_of_video, folders=folders, settings=settings)
    for video, result in map_files(work, todo, workers=workers, limit=limit):
        if isinstance(result, OSError):
            raise result
        if isinstance(result, FailedFile):
            yield video, result.cause
        else:
            yield video, result if isinstance(result, str) else None


def write_flow_of_video(
    path: Path, *, folders: Mapping[Path, Path], settings: FlowSettings
) -> int | str | OSError:
    """Compute and write the flow of one video.

    Returns:
        The number of flows; or the reason why there are none; or a disk error, which would affect all
        videos.
    """
    folder, count = folders[path], 0
    unfinished = folder.with_name(f".{folder.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with open_video(path) as video:
            if video.frames < 2:
                return "one frame: flow needs two"
            unfinished.mkdir(parents=True)
            numbers, size = range(video.frames - 1), (settings.width, settings.height)
            for _, flow in flow_between(video, numbers, method=settings.method, size=size):
                count += 1
                _write(unfinished, count, flow, settings)
        sync_folder(unfinished)
        if folder.is_dir():  # pictures were removed from it
            shutil.rmtree(folder)
        unfinished.rename(folder)
        sync_folder(folder.parent)
    except VideoError as error:
        return error.cause
    except OSError as error:
        return error
    except import_opencv().error as error:
        return f"OpenCV: {error}"
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def _is_complete(folder: Path) -> bool:
    """Return whether a folder has the flow of a video, without gaps."""
    try:
        return folder.is_dir() and bool(find_flow(folder))
    except VideoError:
        return False


def _write(folder: Path, number: int, flow: np.ndarray, settings: FlowSettings) -> None:
    cv2: Any = import_opencv()
    stored = flow_to_bytes(flow)
    if settings.layout == "xy":
        pictures = {f"flow_{axis}_{number:05d}.jpg": stored[..., i] for i, axis in enumerate("xy")}
    else:
        x, y = stored[..., 0], stored[..., 1]
        pictures = {f"{number:06d}.jpg": np.stack((np.full_like(x, 128), y, x), -1)}  # OpenCV's order is BGR
    # Colours at full resolution: with halved colours, x and y of neighbouring pixels would mix.
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    for name, picture in pictures.items():
        done, content = cv2.imencode(".jpg", picture, options)
        if not done:
            raise RuntimeError(f"OpenCV could not encode {name}")
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _keep_settings(out: Path, settings: FlowSettings) -> None:
    """Write the settings, or compare them with those of an earlier run."""
    path, content = out / SETTINGS, json_bytes(asdict(settings), indent=2)
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    elif path.read_bytes() != content:
        other = _differences(path, settings)
        raise UserError(f"{out}: has flow with {other}: use the same settings, or another folder")


def _differences(path: Path, settings: FlowSettings) -> str:
    """Say which settings of stored flow differ."""
    try:
        found = json.loads(path.read_bytes())
        wanted = asdict(settings)
        differing = [
            f"{name} {found.get(name)}, not {wanted[name]}"
            for name in wanted
            if found.get(name) != wanted[name]
        ]
        return "; ".join(differing) or f"other settings ({SETTINGS})"
    except (ValueError, AttributeError):
        return f"settings that cannot be read ({SETTINGS})"
