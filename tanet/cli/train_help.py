"""Short help that `tanet train RECIPE --help` prints. The help lists only the most important flags."""

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent, fill

from tanet.cli.common import WIDTH
from tanet.recipes.fields import Section
from tanet.recipes.recipe import Recipe

# The most important flags, each with the placeholder for its value.
# The help text of a flag is the docstring of the dataclass field that the flag sets.
FIRST = {
    "data.root": "FOLDER",
    "init": "FILE",
    "out": "FOLDER",
    "model.temporal": "MODULE",
    "model.frames": "INT",
    "optim.trained": "{all,from-res2,…,head}",
    "optim.epochs": "INT",
    "optim.batch": "INT",
    "optim.lr": "FLOAT",
    "resume": "",
    "device": "{auto,cpu,cuda,cuda:1,…}",
}


def short_help(name: str, recipe: Recipe, flags: type) -> str:
    """Return the help text for the most important flags, with the recipe's values as defaults.

    Args:
        name: the recipe's name.
        recipe: the recipe.
        flags: dataclass of the command's own flags.
    """
    lines = [
        fill(f"Train a network on your videos with the recipe {name}.", WIDTH),
        "",
        f"usage: tanet train {name} --data.root FOLDER [OPTIONS]",
        "",
    ]
    for flag, metavar in FIRST.items():
        section, _, field = flag.rpartition(".")
        owner = getattr(recipe, section) if section else flags
        text = field_help(type(owner) if section else flags).get(field)
        if text is None:
            continue  # the network of the recipe has no such setting
        if section and (value := getattr(owner, field)) != "":
            text += f" (default:\u00a0{value})"  # the no-break space prevents a line break
        lines.append(f"  --{flag.replace('_', '-')} {metavar}".rstrip())
        wrapped = fill(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append(wrapped.replace("\u00a0", " "))
    lines += ["", f"Run `tanet train {name} --help-all` for all flags."]
    return "\n".join(lines)


@cache
def field_help(kind: type) -> dict[str, str]:
    """Map the name of each field of a dataclass to the docstring below the field, joined to one line.

    A field without a docstring has that of the base class.
    """
    inherited = {} if kind.__base__ in (None, object, Recipe, Section) else field_help(kind.__base__)
    definition = ast.parse(dedent(inspect.getsource(kind))).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return inherited | {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
