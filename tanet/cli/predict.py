"""`tanet predict CHECKPOINT VIDEO …`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.cli.common import Device, fail, load, parse
from tanet.cli.console import show_answer
from tanet.data.find_videos import videos_under
from tanet.inference.predict import predict_all
from tanet.recipes.recipe import Eval
from tanet.video import VideoError


@dataclass(frozen=True)
class PredictFlags:
    """Label videos: files, folders of videos, or folders of frame pictures."""

    checkpoint: tyro.conf.Positional[Path]
    """A file that `tanet train` wrote."""
    videos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Videos, or folders of them."""
    json: bool = False
    """Print JSON, one line a video."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run(args: list[str]) -> int:
    """`tanet predict CHECKPOINT VIDEO …`: exit status 2 if a video could not be read."""
    flags = parse(PredictFlags(Path()), args, prog="tanet predict")
    trained = checkpoints.read_recipe(flags.checkpoint)
    flags = parse(PredictFlags(Path(), eval=trained.eval), args, prog="tanet predict")
    if not flags.videos:
        raise ValueError("no video given: tanet predict CHECKPOINT VIDEO …")
    model = load(flags.checkpoint, flags.device)
    files, failures = _files(flags.videos)
    for answer in predict_all(files, model, eval=flags.eval):
        if isinstance(answer, VideoError):
            failures += 1
            fail(str(answer))
            if flags.json:
                print(json.dumps({"video": str(answer.path), "error": answer.cause}), flush=True)
        elif flags.json:
            print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
        else:
            show_answer(answer)
    return 2 if failures else 0


def _files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    files, empty = [], 0
    for path in paths:
        found = videos_under(path) if path.is_dir() else [path]
        if not found:
            empty += 1
            fail(f"{path}: no videos in this folder")
        files += found
    return files, empty
