"""The end of the demo: published weights label a real video.

The video is the user's, or a real clip in the folder TANET_DATA. If there is none, a synthetic clip shows at
least that the weights work.
"""

import os
from pathlib import Path

import torch

from tanet.checkpoints.pretrained.entries import DATA_NAMES, find_entry
from tanet.data.find_videos import find_videos
from tanet.errors import UserError
from tanet.inference.models import DEFAULT_MODEL
from tanet.inference.predict import predict
from tanet.runtime.events import OnEvent, ignore


def label_real_video(
    video: Path | None, *, out: Path, device: str | torch.device | None = None, on_event: OnEvent = ignore
) -> list[str]:
    """Label a video with the default model, and return the lines that tell the answer.

    Args:
        video: a real video; None takes a clip of TANET_DATA, or a synthetic one.
        out: folder of the demo, with the synthetic videos.
        device: device to run on; None uses a GPU if there is one.
        on_event: receives `Progress` and `Note` of the download of the weights.
    """
    entry = find_entry(DEFAULT_MODEL)
    lines = [
        f"{entry.name}, published weights that know {entry.classes} actions of {DATA_NAMES[entry.data]}:"
    ]
    real = video or find_clip()
    clip = real or find_videos(out / "videos" / "val")[0]
    try:
        answer = predict(clip, DEFAULT_MODEL, device=device, on_event=on_event)
    except UserError as error:
        return [*lines, f"no answer, because {error}"]
    lines.append(f"{answer.video}: {answer.label} ({answer.score:.0%})")
    if real is None:
        lines.append("This video is synthetic, so no action fits. Try a real one: tanet predict VIDEO")
    return lines


def find_clip() -> Path | None:
    """Return a real clip in the folder TANET_DATA, or None."""
    folder = Path(os.environ.get("TANET_DATA", ""), "clips", "action")
    return next(iter(sorted(folder.glob("*.mp4"))), None) if "TANET_DATA" in os.environ else None
