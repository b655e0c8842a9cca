"""The command `tanet predict VIDEO …`, which predicts the class of each video.

tanet predict jump.mp4                                  with the default model
tanet predict --model tsm-r50-k400 'videos/**/*.mp4'    with published weights, by name
tanet predict runs/mine/best.safetensors videos/        with a checkpoint, as the first word or as --model
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.exported.formats import FORMATS
from tanet.checkpoints.pretrained.cache import is_cached
from tanet.checkpoints.pretrained.entries import DATA_NAMES, find_entry, read_index
from tanet.checkpoints.sources import is_pretrained, resolve
from tanet.checkpoints.weights import is_safetensors
from tanet.cli.common import Device, OptionalFile, find_checkpoint, load_checkpoint, parse
from tanet.cli.console import progress_bar, show_answer
from tanet.cli.lines import fail, say, warn
from tanet.cli.video_words import videos_of
from tanet.data.box_file import read_boxes
from tanet.data.find_videos import VIDEO_SUFFIXES, find_videos
from tanet.data.video_patterns import is_pattern
from tanet.errors import UserError
from tanet.evaluation.ensemble import check_weights
from tanet.inference.answer_table import AnswerTable
from tanet.inference.models import DEFAULT_MODEL, Member, check_members, make_member
from tanet.inference.predict import Prediction, predict_with
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Eval
from tanet.video import VideoError

USAGE = "tanet predict [CHECKPOINT] VIDEO …"
EXPORTED = tuple(entry.suffix for entry in FORMATS.values())
WEIGHT_SUFFIXES = (".safetensors", *EXPORTED, ".pth", ".pt", ".ckpt", ".pyth", ".pkl", ".tar", ".bin")


@dataclass(frozen=True)
class PredictFlags:
    """Predict the class of each video. A video can be a file or a folder of frame images.

    Without a model, the command uses published weights, which it downloads once. If the first word is a
    checkpoint or its name, it is the model.
    """

    videos: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="[CHECKPOINT] VIDEO …", help_behavior_hint=""),
    ] = ()
    """Video files, folders, patterns in quotes ('videos/**/*.mp4'), and text files with one path a line. A
    dash reads such a list from standard input."""
    model: Annotated[
        tyro.conf.UseAppendAction[list[str]],
        tyro.conf.arg(metavar="FILE|NAME", help_behavior_hint=f"(default: {DEFAULT_MODEL})"),
    ] = field(default_factory=list)
    """Checkpoint, folder of a training, name of published weights, or hf://user/name. Several --model make an
    ensemble: the average of their probabilities."""
    weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar="WEIGHT …", help_behavior_hint="")] = ()
    """Weight of each model in the average. Only the ratios of the weights matter. Default: equal weights."""
    csv: OptionalFile = None
    """CSV file to write the answers to, instead of standard output: labels, scores, notes and errors."""
    json: bool = False
    """Print one line of JSON for each video."""
    boxes: OptionalFile = None
    """JSON file with boxes of the videos' regions, for a network with a graph of regions."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet predict VIDEO …` and return the exit status, 2 if a video is unreadable."""
    flags = parse(PredictFlags(), args, prog="tanet predict", usage=USAGE)
    names, words = _models(flags)
    check_weights(flags.weights, parts=max(1, len(names)))
    if not words:
        if names:
            raise UserError(f"no video given; usage: {USAGE}")
        raise UserError(f"usage: {USAGE} (see `tanet predict --help`)")
    table = AnswerTable(flags.csv) if flags.csv else None
    files, failures = videos_of(words)
    if names or any(file.exists() for file in files):
        answers = predict_with(_load(names or (_default(),), flags, args), files)
    else:  # do not download a model for nothing
        answers = (VideoError(file, "no such file or folder") for file in files)
    with ExitStack() as stack:
        if table:
            stack.enter_context(table)
        progress = stack.enter_context(progress_bar("predicting", total=len(files)))
        for answer in answers:
            failures += isinstance(answer, VideoError)
            with progress.aside():
                _show(answer, flags, table)
            progress.advance()
    if flags.csv and flags.csv.is_file() and not flags.json:
        say(f"answers: {flags.csv}")
    return 2 if failures else 0


def _models(flags: PredictFlags) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the models, and the words that name videos.

    The first word is a model if it is one by its kind: the user may omit --model.
    """
    first, *others = flags.videos or ("",)
    if not first or not _is_model(first, missing_is_error=not flags.model):
        return tuple(flags.model), flags.videos
    if flags.model:
        raise UserError(f"{first} is a checkpoint, and so is --model {flags.model[0]}: use --model for both")
    return (first,), tuple(others)


def _is_model(word: str, *, missing_is_error: bool) -> bool:
    """Return whether a word is a checkpoint or its name, not a video. What exists is decided by its kind.

    Raises:
        UserError: `missing_is_error`, and the word is neither, but looks like a name.
    """
    path = Path(word)
    if path.is_dir():
        is_model = (path / "best.safetensors").is_file()
        if is_model and find_videos(path):
            warn(f"{word}: has a checkpoint and videos; it is taken as the model, not searched for videos")
        elif not is_model and word in read_index():
            warn(f"{word}: taken as the folder of this name, not as the published weights of this name")
        return is_model
    if path.suffix.lower() in WEIGHT_SUFFIXES:
        return True
    if path.suffix.lower() in VIDEO_SUFFIXES or word == "-" or is_pattern(word):
        return False
    if path.exists():
        return path.is_file() and is_safetensors(path)  # files on the hub have no suffix
    if is_pretrained(word):
        return True
    if missing_is_error and path.name == word and not path.suffix:
        resolve(word)  # this error tells which names are similar
    return False


def _default() -> str:
    """Tell that the default model is used. Return its name."""
    entry = find_entry(DEFAULT_MODEL)
    size = "" if is_cached(entry) else f"; it is downloaded once, {entry.megabytes:.0f} MB"
    warn(f"model {entry.name}, which knows {entry.classes} actions of {DATA_NAMES[entry.data]}{size}")
    return entry.name


def _load(names: Sequence[str], flags: PredictFlags, args: list[str]) -> tuple[Member, ...]:
    """Load the models. The flags --eval change the views of each model's recipe."""
    shares = check_weights(flags.weights, parts=len(names))
    paths = [find_checkpoint(name) for name in names]
    views = []
    for path in paths:
        defaults = PredictFlags(eval=checkpoints.read_recipe(path).eval)
        views.append(parse(defaults, args, prog="tanet predict").eval)
    members = []
    for name, path, eval, share in zip(names, paths, views, shares, strict=True):
        member = make_member(name, load_checkpoint(path, flags.device), eval=eval, weight=share)
        members.append(_with_boxes(member, flags.boxes) if flags.boxes else member)
    check_members(members)
    return tuple(members)


def _with_boxes(member: Member, boxes: Path) -> Member:
    """Return a model that gets the regions of each video from a file of boxes."""
    recipe = member.checkpoint.recipe
    if not (isinstance(recipe.model, RegionGraphNet) and recipe.model.boxes == "given"):
        raise UserError(
            "--boxes is for networks that were trained with given regions (--model.boxes given); "
            f"{member.name} is {recipe.model.title}"
        )
    read_boxes(str(boxes))  # an error of the file is not one of the first video
    recipe = replace(recipe, data=replace(recipe.data, boxes=str(boxes)))
    return replace(member, checkpoint=replace(member.checkpoint, recipe=recipe))


def _show(answer: Prediction | VideoError, flags: PredictFlags, table: AnswerTable | None) -> None:
    """Show the prediction for a video, or its error, which goes to standard error."""
    if table:
        table.add(answer)
    if isinstance(answer, VideoError):
        fail(str(answer))
        if flags.json:
            print(json.dumps({"video": str(answer.path), "error": answer.cause}), flush=True)
    elif flags.json:
        print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
    elif not table:
        show_answer(answer)
