"""The command `tanet train`, which trains a network.

tanet train RECIPE --data.root videos --out runs/mine      on one GPU or CPU
torchrun … -m tanet train RECIPE …                         on several GPUs
"""

import dataclasses
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from tanet.checkpoints.checkpoint import read_header
from tanet.checkpoints.recipe_from_file import recipe_from_file, sampling_of, with_fields
from tanet.cli.common import (
    WIDTH,
    Device,
    OptionalCheckpoint,
    find_checkpoint,
    parse,
    parse_known,
    unknown_words,
)
from tanet.cli.console import TrainingScreen
from tanet.cli.lines import fail, say, warn
from tanet.cli.train_help import short_help
from tanet.errors import UserError
from tanet.recipes import RECIPES, TABLES, find_recipe
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import exit_unless_main, is_main_process
from tanet.training.run_folder import has_recipe, read_run_recipe
from tanet.training.tensorboard import TensorBoardWriter
from tanet.training.trainer import Event, Interrupted, train


@dataclass(frozen=True)
class TrainFlags(Recipe):
    """Train a network on videos."""

    init: OptionalCheckpoint = None
    """Initial weights: a file, a name of published weights (`tanet models`), or hf://user/name. A checkpoint
    also sets the network, and for 3D networks the sampling and sizes of clips. ImageNet weights set only the
    2D network."""
    out: Path = Path("runs/train")
    """Folder for checkpoints and metrics. The folder must not contain another run."""
    device: Device = "auto"
    """Device to train on; auto uses a GPU if there is one."""
    resume: bool = False
    """Continue the run in --out from the last saved state. Without a saved state, start the run."""
    save_minutes: float = 10.0
    """Minutes between two saved states. The state is also saved at the end of each epoch."""
    compile: bool = False
    """Compile the network. On a GPU, training is faster, but compiling takes minutes."""
    tensorboard: bool = False
    """Also write losses, accuracies and speed to OUT/tensorboard. To install: pip install 'tanet[train]'."""


def run(args: list[str]) -> int:
    """Run `tanet train RECIPE …`."""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        _show_recipes()
        return 0
    reference = find_recipe(name)
    if {"-h", "--help"} & set(rest):
        say(short_help(name, reference, TrainFlags))
        return 0
    rest = ["--help" if arg == "--help-all" else arg for arg in rest]
    defaults = _start_from_file(rest, reference, out=Path("runs") / name)
    rest = _name_folder(rest, defaults)
    flags = parse(
        TrainFlags(**_sections(defaults), out=Path("runs") / name), rest, prog=f"tanet train {name}"
    )
    if not flags.save_minutes >= 0:
        raise UserError(f"--save-minutes must be 0 or more, not {flags.save_minutes}")
    recipe = Recipe(**{section: getattr(flags, section) for section in _sections(reference)})
    # Only rank 0 shows progress.
    screen = TrainingScreen(recipe) if is_main_process() else None
    board = TensorBoardWriter(flags.out / "tensorboard") if flags.tensorboard and is_main_process() else None

    def show(event: Event) -> None:
        for watcher in (screen, board):
            if watcher:
                watcher.show(event)

    try:
        with screen or nullcontext():
            best = train(
                recipe,
                out=flags.out,
                device=flags.device,
                on_event=show,
                resume=flags.resume,
                save_minutes=flags.save_minutes,
                compile=flags.compile,
                reference=reference,
            )
    except Interrupted as stopped:
        exit_unless_main()
        return fail(f"{stopped}; run the same command with --resume to continue", status=130)
    if screen:
        info = read_header(best).info
        top1 = f", val top-1 {info['val_top1']:.1%}" if info.get("val_top1") is not None else ""
        say(f"best checkpoint: {best} (epoch {info['epoch']}{top1})")
        say(f"test it:         tanet test {best}")
    return 0


def _show_recipes() -> None:
    """Print the usage and a list of all recipes."""
    say("usage: tanet train RECIPE --data.root FOLDER [--init FILE] [--out FOLDER]")
    say("                          [--SECTION.FIELD VALUE …]\n")
    for name, recipe in RECIPES.items():
        model = recipe.model
        # The no-break spaces keep a number beside its unit.
        line = f"{model.title}, {model.frames}\u00a0frames, {recipe.optim.epochs}\u00a0epochs"
        wrapped = fill(
            line,
            WIDTH,
            initial_indent=f"  {name:17} ",
            subsequent_indent=" " * 22,
            break_on_hyphens=False,
        )
        say(wrapped.replace("\u00a0", " "))
    say("\nThe rows of the paper's tables are recipes, too:")
    for table, rows in TABLES.items():
        head = f"  table{table}/{{"
        # Break lines only after commas: the names of rows contain hyphens.
        names = fill(
            ", ".join(rows) + "}",
            WIDTH,
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
        say(names)
    say("\nRun `tanet train RECIPE --help` for the flags that matter, --help-all for all.")


def _name_folder(args: list[str], recipe: Recipe) -> list[str]:
    """Turn a folder that is given without a flag into `--data.root FOLDER`.

    Raises:
        UserError: a word is no value of a flag, and it is no folder, or --data.root is given, too.
    """
    if "--help" in args or all(arg.startswith("-") for arg in args):
        return args
    flags = TrainFlags(**_sections(recipe))
    extra = unknown_words(flags, args)
    if not extra or any(word.startswith("-") for word in extra):
        return args  # `parse` explains unknown flags
    word, given = extra[0], any(re.match("--data.root(=|$)", arg) for arg in args)
    if len(extra) == 1 and not given and Path(word).is_dir():
        # The same word may also be the value of a flag.
        for place in (place for place, arg in enumerate(args) if arg == word):
            others = [*args[:place], *args[place + 1 :]]
            if not unknown_words(flags, others):
                return ["--data.root", word, *others]
    if given:
        raise UserError(f"'{word}' is not a flag, and --data.root already names the videos: remove one")
    cause = "" if Path(word).exists() else f", but there is no folder {word}"
    raise UserError(f"'{word}' is not a flag: name the folder of videos with --data.root {word}{cause}")


def _sections(recipe: Recipe) -> dict[str, Any]:
    return {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}


@dataclass(frozen=True)
class _StartFlags:
    """The flags that tell which network a training starts with."""

    init: OptionalCheckpoint = None
    out: Path = Path("runs/train")
    resume: bool = False


def _start_from_file(args: list[str], recipe: Recipe, *, out: Path) -> Recipe:
    """Return the defaults of all flags: the recipe, or with --init, the recipe with the file's network."""
    flags = parse_known(_StartFlags(out=out), args)
    if "--help" in args or flags is None or not flags.init:
        return recipe
    given = {match[1].replace("-", "_") for arg in args if (match := re.match(r"--([a-z]+\.[a-z_-]+)", arg))}
    for field in ("init", "weights"):
        if f"model.{field}" in given:
            raise UserError(f"--init and --model.{field} both set the weights to start from: give only one")
    if flags.resume and not Path(flags.init).exists() and has_recipe(flags.out):
        # A resumed run reads its network from the run folder, so it does not need the --init file any more.
        run = read_run_recipe(flags.out)
        return with_fields(recipe, model=run.model, values=sampling_of(run))
    find_checkpoint(flags.init)  # shows the progress if it has to be downloaded
    recipe, notes = recipe_from_file(flags.init, recipe, given=given)
    for note in notes if is_main_process() else ():
        warn(note)
    return recipe
