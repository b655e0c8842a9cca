"""`tanet train RECIPE --data.root videos --out runs/mine`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tanet.cli.common import Device, fail, parse
from tanet.recipe import Recipe
from tanet.recipes import RECIPES, TABLES, find_recipe
from tanet.screen import TrainingScreen, say
from tanet.train import train


@dataclass(frozen=True)
class TrainFlags(Recipe):
    """Train a network."""

    out: Path = Path("runs/train")
    """Folder for checkpoints and metrics; it must not hold another run."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run(args: list[str]) -> int:
    """`tanet train RECIPE …`"""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        say("usage: tanet train RECIPE --data.root FOLDER [--out FOLDER] [--SECTION.FIELD VALUE …]\n")
        for recipe_name, recipe in RECIPES.items():
            model = recipe.model
            what = f"{model.temporal} {model.backbone}, {model.frames} frames, {recipe.optim.epochs} epochs"
            say(f"  {recipe_name:14} {what}")
        say("\nand the rows of the paper's tables:")
        for table, rows in TABLES.items():
            say(f"  table{table}/{{{','.join(rows)}}}")
        say("\n`tanet train RECIPE --help` lists all fields of a recipe with its values.")
        return 0
    recipe = find_recipe(name)
    sections = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    flags = parse(TrainFlags(**sections, out=Path("runs") / name), rest, prog=f"tanet train {name}")
    recipe = Recipe(**{section: getattr(flags, section) for section in sections})
    with TrainingScreen(recipe) as screen:
        try:
            best = train(recipe, out=flags.out, device=flags.device, report=screen.show)
        except KeyboardInterrupt:
            last = flags.out / "last.safetensors"
            kept = f"; the last whole epoch is in {last}" if last.exists() else ""
            return fail(f"stopped{kept}", status=130)
    say(f"best checkpoint: {best}")
    say(f"test it:         tanet test {best}")
    return 0
