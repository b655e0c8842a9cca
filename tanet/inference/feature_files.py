"""Files with features of videos: NAME.npy and NAME.json, and settings for the tools that read them.

NAME.json is written last, so features with a NAME.json are complete.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tanet.inference.features import Features
from tanet.inference.windows import Span
from tanet.runtime.files import json_bytes, text_bytes, write_atomically


def write_features(
    folder: Path, name: str, found: Features, *, settings: Mapping[str, Any], video: str
) -> None:
    """Write the features of a video.

    Args:
        folder: folder of the files.
        name: name of the files, without suffix.
        found: the features.
        settings: how they were computed; `dtype` is the type of the numbers.
        video: path of the video.

    Raises:
        OSError: a file cannot be written.
    """
    values = found.values.astype(settings["dtype"])
    content = io.BytesIO()
    np.save(content, values)
    write_atomically(folder / f"{name}.npy", content.getvalue())
    windows, fps = found.windows, found.fps
    about = {
        "video": video,
        "settings": dict(settings),
        "frames": found.frames,
        "fps": fps,
        "rows": len(values),
        "channels": values.shape[-1],
        "shape": list(values.shape),
        "first_centre_seconds": round(float(windows.centres[0]), 6),
        "first_centre_frames": round(float(windows.centres[0]) * fps, 3) if fps else None,
        "seconds": [round(float(time), 4) for time in windows.centres],
        "note": found.note,
    }
    write_atomically(folder / f"{name}.json", json_bytes(about))


def is_done(folder: Path, name: str, settings: Mapping[str, Any]) -> int:
    """Return the number of channels of features that are complete and have these settings, or 0."""
    try:
        about = json.loads((folder / f"{name}.json").read_bytes())
        same = {k: v for k, v in about["settings"].items() if k != "checkpoint"}
        wanted = {k: v for k, v in settings.items() if k != "checkpoint"}
        return about["channels"] if same == wanted and (folder / f"{name}.npy").is_file() else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def snippets(folder: Path, *, window: Span, stride: Span, channels: int) -> list[Path]:
    """Write settings for ActionFormer and OpenTAD beside the features, if windows are in frames.

    Both compute the time of row i as (i · stride + window / 2) / fps.
    """
    if window.unit != "frames" or stride.unit != "frames":
        return []
    files = {
        "actionformer.yaml": (
            f"dataset: {{\n  feat_folder: {folder.as_posix()},\n  file_ext: .npy,\n"
            f"  num_frames: {int(window.value)},\n  feat_stride: {int(stride.value)},\n"
            f"  input_dim: {channels},\n}}\n"
        ),
        "opentad.py": (
            "dataset = dict(\n"
            f'    data_path="{folder.as_posix()}",\n    feature_stride={int(stride.value)},\n'
            f"    sample_stride=1,\n    offset_frames={int(window.value) // 2},\n)\n"
            f"model = dict(projection=dict(in_channels={channels}))\n"
        ),
    }
    for name, text in files.items():
        write_atomically(folder / name, text_bytes(text))
    return [folder / name for name in files]
