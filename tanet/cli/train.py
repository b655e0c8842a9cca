"""`tanet train RECIPE --data.root videos --out runs/mine`; on several GPUs `torchrun … -m tanet train …`."""

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tanet.checkpoints.checkpoint import read_header
from tanet.checkpoints.initialize import starting_from
from tanet.cli.common import Device, fail, parse
from tanet.cli.console import TrainingScreen, say
from tanet.recipes import RECIPES, TABLES, find_recipe
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import is_first, leave_word_to_first
from tanet.training.tensorboard import Board
from tanet.training.trainer import Event, Stopped, train


@dataclass(frozen=True)
class TrainFlags(Recipe):
    """Train a network."""

    init: Path | None = None
    """File to start from: a checkpoint, whose network is taken, or ImageNet's weights of a 2D network."""
    out: Path = Path("runs/train")
    """Folder for checkpoints and metrics; it must not hold another run."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    resume: bool = False
    """Go on with the run in that folder from its last complete state; where it has none yet, start."""
    save_minutes: float = 10.0
    """Minutes between two states to go on from, beside those at each epoch's end."""
    compile: bool = False
    """Compile the network: faster on a GPU, after minutes of compiling."""
    tensorboard: bool = False
    """Write losses, accuracies and speed to OUT/tensorboard as well (pip install 'tanet[train]')."""


def run(args: list[str]) -> int:
    """`tanet train RECIPE …`"""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        flags = "[--init FILE] [--out FOLDER] [--SECTION.FIELD VALUE …]"
        say(f"usage: tanet train RECIPE --data.root FOLDER {flags}\n")
        for recipe_name, recipe in RECIPES.items():
            model = recipe.model
            what = f"{model.temporal} {model.backbone}, {model.frames} frames, {recipe.optim.epochs} epochs"
            say(f"  {recipe_name:17} {what}")
        say("\nand the rows of the paper's tables:")
        for table, rows in TABLES.items():
            say(f"  table{table}/{{{','.join(rows)}}}")
        say("\n`tanet train RECIPE --help` lists all fields of a recipe with its values.")
        return 0
    recipe = find_recipe(name)
    sections = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    parsed = partial(parse, args=rest, prog=f"tanet train {name}")
    flags = parsed(TrainFlags(**sections, out=Path("runs") / name))
    if flags.init:
        for field in ("init", "weights"):
            if getattr(flags.model, field) != getattr(recipe.model, field):
                raise ValueError(f"--init and --model.{field} both say where to start: give one of them")
        # Once more, with the file's network as the default: a flag still has the last word.
        model = starting_from(flags.init, recipe.model)
        flags = parsed(TrainFlags(**{**sections, "model": model}, out=flags.out))
    reference, recipe = recipe, Recipe(**{section: getattr(flags, section) for section in sections})
    if not flags.save_minutes >= 0:
        raise ValueError(f"--save-minutes must be 0 or more, not {flags.save_minutes}")
    # Of several processes the first alone is told anything.
    screen = TrainingScreen(recipe) if is_first() else None
    board = Board(flags.out / "tensorboard") if flags.tensorboard and is_first() else None

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
                report=show,
                resume=flags.resume,
                save_minutes=flags.save_minutes,
                compile=flags.compile,
                reference=reference,
            )
    except Stopped as stopped:
        leave_word_to_first()
        return fail(f"{stopped}; the same command with --resume goes on", status=130)
    if screen:
        info = read_header(best).info
        top1 = f", val top-1 {info['val_top1']:.1%}" if info.get("val_top1") is not None else ""
        say(f"best checkpoint: {best} (epoch {info['epoch']}{top1})")
        say(f"test it:         tanet test {best}")
    return 0
