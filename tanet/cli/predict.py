"""The command `tanet predict CHECKPOINT VIDEO …`, which predicts the class of each video."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.cli.common import CheckpointPath, Device, Videos, fail, load_checkpoint, parse
from tanet.cli.console import progress_bar, show_answer
from tanet.data.find_videos import find_videos
from tanet.errors import UserError
from tanet.inference.predict import Prediction, predict_all
from tanet.recipes.recipe import Eval
from tanet.video import VideoError

USAGE = "tanet predict CHECKPOINT VIDEO …"


@dataclass(frozen=True)
class PredictFlags:
    """Predict the class of each video. A video can be a file or a folder of frame images."""

    checkpoint: CheckpointPath
    """Checkpoint written by `tanet train`."""
    videos: Videos = ()
    """Video files, folders of frame images, or folders of videos."""
    json: bool = False
    """Print one line of JSON for each video."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet predict CHECKPOINT VIDEO …` and return the exit status, 2 if a video is unreadable."""
    flags = parse(PredictFlags(tyro.MISSING), args, prog="tanet predict", usage=USAGE)
    if not flags.videos:
        raise UserError(f"no video given; usage: {USAGE}")
    trained = checkpoints.read_recipe(flags.checkpoint)
    flags = parse(PredictFlags(tyro.MISSING, eval=trained.eval), args, prog="tanet predict")
    model = load_checkpoint(flags.checkpoint, flags.device)
    files, failures = _files(flags.videos)
    with progress_bar("predicting", total=len(files)) as progress:
        for answer in predict_all(files, model, eval=flags.eval):
            failures += isinstance(answer, VideoError)
            with progress.aside():
                _show(answer, as_json=flags.json)
            progress.advance()
    return 2 if failures else 0


def _show(answer: Prediction | VideoError, *, as_json: bool) -> None:
    """Print the prediction for a video on standard output, or its error on standard error."""
    if isinstance(answer, VideoError):
        fail(str(answer))
        if as_json:
            print(json.dumps({"video": str(answer.path), "error": answer.cause}), flush=True)
    elif as_json:
        print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
    else:
        show_answer(answer)


def _files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    files, empty = [], 0
    for path in paths:
        found = find_videos(path) if path.is_dir() else [path]
        if not found:
            empty += 1
            fail(f"{path}: no videos in this folder")
        files += found
    return files, empty
