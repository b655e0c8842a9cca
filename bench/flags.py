"""Make parsers of command lines: with the command's name, defaults in the help, and checks of numbers."""

import argparse
import shlex
from collections.abc import Callable
from contextlib import suppress


def command(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for `python -m name`, whose help shows all defaults that are not empty."""
    return argparse.ArgumentParser(prog=f"python -m {name}", description=description, formatter_class=_Help)


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers that rejects numbers below `least`."""

    def whole_number(text: str) -> int:
        with suppress(ValueError):
            if (number := int(text)) >= least:
                return number
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text}")

    return whole_number


def above_zero(text: str) -> float:
    """Parse a number above 0."""
    with suppress(ValueError):
        if (number := float(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawTextHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, "", []) or "default" in (action.help or ""):
            return action.help
        if isinstance(action.default, list | tuple):
            return f"{action.help} (default: {shlex.join(map(str, action.default))})".replace("%", "%%")
        return super()._get_help_string(action)
