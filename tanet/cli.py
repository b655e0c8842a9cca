"""The command `tanet`. With screen.py the only file that prints; one function per command.

tanet train RECIPE --data.root videos --out runs/mine
tanet test CHECKPOINT --data.root videos
tanet predict CHECKPOINT VIDEO …
tanet demo
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import tyro

from tanet import checkpoint as checkpoints
from tanet import evaluate
from tanet.annotation import read_test, videos_under
from tanet.checkpoint import Checkpoint, write_atomically
from tanet.device import pick_device
from tanet.predict import predict_all
from tanet.recipe import Data, Eval, Recipe
from tanet.recipes import RECIPES
from tanet.screen import TrainingScreen, bar, err, say, show_accuracy, show_answer
from tanet.train import train
from tanet.video import VideoError

HELP = """Recognise actions in video with 2D networks that were given a sense of time.

  tanet train RECIPE …            train a network on your videos
  tanet test CHECKPOINT …         test one on labelled videos
  tanet predict CHECKPOINT …      label videos
  tanet demo                      make videos, train two networks on them, compare: in some minutes

`tanet COMMAND --help` tells more."""

F = TypeVar("F")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,…}")]


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 2 for what the user can mend, or 130 for Ctrl-C."""
    name, *rest = list(sys.argv[1:] if args is None else args) or ["--help"]
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": run_train,
        "test": run_test,
        "predict": run_predict,
        "demo": run_demo,
    }
    if name in ("-h", "--help"):
        say(HELP)
        return 0
    if name not in commands:
        return _fail(f"unknown command '{name}': known are {', '.join(commands)}")
    # Channels with a tiny variance make denormal numbers, on which a CPU is a hundred times slower.
    torch.set_flush_denormal(True)
    try:
        return commands[name](rest)
    except KeyboardInterrupt:
        return _fail("stopped", status=130)
    except torch.OutOfMemoryError:
        return _fail("the GPU has too little memory: lower --optim.batch, or --eval.batch for a test")
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return _fail(str(error))


@dataclass(frozen=True)
class TrainFlags(Recipe):
    """Train a network."""

    out: Path = Path("runs/train")
    """Folder for checkpoints and metrics; it must not hold another run."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run_train(args: list[str]) -> int:
    """`tanet train RECIPE …`"""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        say("usage: tanet train RECIPE --data.root FOLDER [--out FOLDER] [--SECTION.FIELD VALUE …]\n")
        for recipe_name, recipe in RECIPES.items():
            model = recipe.model
            what = f"{model.temporal} {model.backbone}, {model.frames} frames, {recipe.optim.epochs} epochs"
            say(f"  {recipe_name:14} {what}")
        say("\n`tanet train RECIPE --help` lists all fields of a recipe with its values.")
        return 0
    if name not in RECIPES:
        return _fail(f"unknown recipe '{name}': known are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    sections = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    flags = _parse(TrainFlags(**sections, out=Path("runs") / name), rest, prog=f"tanet train {name}")
    recipe = Recipe(**{section: getattr(flags, section) for section in sections})
    with TrainingScreen(recipe) as screen:
        try:
            best = train(recipe, out=flags.out, device=flags.device, report=screen.show)
        except KeyboardInterrupt:
            last = flags.out / "last.safetensors"
            kept = f"; the last whole epoch is in {last}" if last.exists() else ""
            return _fail(f"stopped{kept}", status=130)
    say(f"best checkpoint: {best}")
    say(f"test it:         tanet test {best}")
    return 0


@dataclass(frozen=True)
class TestFlags:
    """Test a checkpoint on labelled videos: top-1, top-5 and mean-class accuracy."""

    checkpoint: tyro.conf.Positional[Path]
    """A file that `tanet train` wrote."""
    data: Data = Data()
    eval: Eval = Eval()
    json: Path | None = None
    """File for accuracies and the answer for each video."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run_test(args: list[str]) -> int:
    """`tanet test CHECKPOINT …`"""
    flags = _parse(TestFlags(Path()), args, prog="tanet test")
    trained = checkpoints.read_recipe(flags.checkpoint)
    # Once more, now that the checkpoint is known whose values are the defaults.
    flags = _parse(TestFlags(Path(), trained.data, trained.eval), args, prog="tanet test")
    model = _load(flags.checkpoint, flags.device)
    # Where training set a part aside, that part is tested; other videos are tested all.
    same = flags.data.root == trained.data.root
    samples = read_test(flags.data, classes=model.classes, seed=trained.seed if same else None)
    recipe = dataclasses.replace(trained, data=flags.data, eval=flags.eval)
    with bar() as progress:
        task = progress.add_task("testing", total=len(samples), note="")
        report = evaluate.test(
            model.network,
            samples,
            classes=model.classes,
            recipe=recipe,
            report=lambda done, _: progress.update(task, completed=done),
        )
    show_accuracy(report, flags.eval)
    if flags.json:
        write_atomically(flags.json, json.dumps(report.as_dict(), indent=2).encode())
    return 0


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


def run_predict(args: list[str]) -> int:
    """`tanet predict CHECKPOINT VIDEO …`: exit status 2 if a video could not be read."""
    flags = _parse(PredictFlags(Path()), args, prog="tanet predict")
    trained = checkpoints.read_recipe(flags.checkpoint)
    flags = _parse(PredictFlags(Path(), eval=trained.eval), args, prog="tanet predict")
    if not flags.videos:
        raise ValueError("no video given: tanet predict CHECKPOINT VIDEO …")
    model = _load(flags.checkpoint, flags.device)
    files, failures = _files(flags.videos)
    for answer in predict_all(files, model, eval=flags.eval):
        if isinstance(answer, VideoError):
            failures += 1
            _fail(str(answer))
            if flags.json:
                print(json.dumps({"video": str(answer.path), "error": answer.cause}), flush=True)
        elif flags.json:
            print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
        else:
            show_answer(answer)
    return 2 if failures else 0


@dataclass(frozen=True)
class DemoFlags:
    """Make videos whose verbs only the order of frames tells apart, train TANet and the plain 2D network
    on them, test both, and write a report."""

    out: Path = Path("demo")
    """Folder for videos, checkpoints and report.html; an earlier demo there is replaced."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run_demo(args: list[str]) -> int:
    """`tanet demo`"""
    from tanet import demo

    flags = _parse(DemoFlags(), args, prog="tanet demo")
    page = demo.run(flags.out, device=flags.device, watch=TrainingScreen, say=say)
    say(f"\nreport: {page}")
    return 0


def _parse(default: F, args: list[str], *, prog: str) -> F:
    kind = type(default)
    # Sections are named by their own fields (--optim.lr); what a command adds has no prefix.
    return tyro.cli(kind, default=default, args=args, prog=prog, description=kind.__doc__)


def _load(path: Path, device: str) -> Checkpoint:
    return checkpoints.load(path, device=pick_device(device))


def _files(paths: Sequence[Path]) -> tuple[list[Path], int]:
    files, empty = [], 0
    for path in paths:
        found = videos_under(path) if path.is_dir() else [path]
        if not found:
            empty += 1
            _fail(f"{path}: no videos in this folder")
        files += found
    return files, empty


def _fail(message: str, *, status: int = 2) -> int:
    err.print(f"tanet: {message}", markup=False)
    return status
