"""The short help of `tanet train RECIPE --help`: the most important flags, and where to find the others."""

import ast
import inspect
from functools import cache
from itertools import pairwise
from textwrap import dedent, fill

from tanet.cli.common import WIDTH
from tanet.recipes.recipe import Recipe

# Flag → its kind of value. Each flag is a field of a dataclass; the field's docstring is its help.
FIRST = {
    "data.root": "FOLDER",
    "init": "FILE",
    "out": "FOLDER",
    "model.temporal": "MODULE",
    "model.frames": "INT",
    "optim.epochs": "INT",
    "optim.batch": "INT",
    "optim.lr": "FLOAT",
    "resume": "",
    "device": "{auto,cpu,cuda,cuda:1,…}",
}


def short_help(name: str, recipe: Recipe, flags: type) -> str:
    """Describe the flags of FIRST, with the recipe's values as defaults.

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
        text = field_help(type(owner) if section else flags)[field]
        if section and (value := getattr(owner, field)) != "":
            text += f" (default:\u00a0{value})"  # a no-break space keeps both words on one line
        lines.append(f"  --{flag.replace('_', '-')} {metavar}".rstrip())
        wrapped = fill(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append(wrapped.replace("\u00a0", " "))
    lines += ["", f"Run `tanet train {name} --help-all` for all flags."]
    return "\n".join(lines)


@cache
def field_help(kind: type) -> dict[str, str]:
    """Return the docstring after each field of a dataclass, as one line."""
    definition = ast.parse(dedent(inspect.getsource(kind))).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
