"""Translation of weight names between a VideoNet and other projects, in both directions.

Each project has a table (names2d.py): a list of pairs (pattern of the other project's name, pattern of our
name). A name is translated by the first pair whose pattern matches the name. A pattern can contain these
placeholders:

    {block}    a block, for example layer1.0; in our names, only a block with a TAM
    {mixed}    a block of BN-Inception, for example 3a
    {at}       a block followed by a dot, or nothing
    {n}        a digit
    {i}        a number
    {leaf}     the last part of the name, for example weight
    {p}        the rest of the name

Multi-GPU training adds the prefix `module.` to every name. The tables do not contain this prefix.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from string import Formatter
from typing import TypeVar

Names = tuple[tuple[str, str], ...]
V = TypeVar("V")

BLOCK = r"layer[1-4]\.\d+"
PARTS = {"mixed": "[3-5][a-e]", "at": rf"(?:{BLOCK}\.)?", "n": r"\d", "i": r"\d+", "leaf": r"\w+", "p": r".+"}


def to_ours(theirs: Iterable[str], table: Names) -> dict[str, str]:
    """Map another project's weight names to ours. Names that match no pair of the table stay unchanged."""
    return {name: translate(name, table, block=BLOCK) or name for name in theirs}


def to_theirs(ours: Iterable[str], table: Names) -> dict[str, str]:
    """Map our weight names to another project's names. Names that match no pair of the table stay unchanged.

    `ours` must contain all names of one network, because the names show which blocks have a TAM.
    """
    ours = list(ours)
    # Let {block} match only blocks with a TAM. Names in other blocks must match a pattern with {at} or {p}.
    block = "|".join(map(re.escape, tam_blocks(ours))) or "(?!)"
    turned = tuple((own, theirs) for theirs, own in table)
    return {name: translate(name, turned, block=block) or name for name in ours}


def tam_blocks(ours: Iterable[str]) -> list[str]:
    """Return the blocks (layer1.0, …) that have a TAM before conv2.

    Args:
        ours: our weight names.
    """
    return _blocks(ours, rf"backbone\.({BLOCK})\.conv2\.temporal\.[GL]\..+")


def shifted_convs(names: Mapping[str, str]) -> set[str]:
    """Return the convolutions with a temporal shift before them, for example layer1.0.conv1.

    Args:
        names: another project's names → our names. The names of the returned convolutions are ours.
    """
    shifted = r".+\.(?:conv1\.(?:conv\.)?net|features\.\d+\.conv\.0\.net|conv\.0\.net\.conv)\.weight"
    return {
        ours.removeprefix("backbone.").removesuffix(".weight")
        for theirs, ours in names.items()
        if re.fullmatch(shifted, theirs)
    }


def non_local_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks (layer2.0, …) that are followed by a non-local block.

    Args:
        theirs: another project's weight names.
    """
    return _blocks(theirs, rf".+\.({BLOCK})\.(?:nl|non_local_block)\..+")


def pooled_stages(theirs: Iterable[str]) -> list[str]:
    """Return the stages (for example layer2) that have a temporal pool before them.

    Args:
        theirs: another project's weight names.
    """
    return _blocks(theirs, r".+\.(layer[1-4])\.net\.\d+\..+")


def wrapped_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks (layer1.0, …) that are wrapped as a whole in another module.

    Args:
        theirs: another project's weight names.
    """
    return _blocks(theirs, rf".+\.({BLOCK})\.net\..+")


def _blocks(names: Iterable[str], pattern: str) -> list[str]:
    return list(dict.fromkeys(match[1] for name in names if (match := re.fullmatch(pattern, name))))


def translate(name: str, table: Names, *, block: str = "(?!)") -> str | None:
    """Translate a name by the first pair whose left side matches. Return None if no pair matches.

    Args:
        name: the name of a weight.
        table: pairs of patterns. A name is matched with the left ones.
        block: regular expression for {block}; the default matches nothing.
    """
    for left, right in table:
        if match := _pattern(left, block).fullmatch(name):
            return right.format_map(match.groupdict())
    return None


@cache
def _pattern(left: str, block: str) -> re.Pattern[str]:
    """Return the regular expression for one side of a pair. `block` is the expression for {block}."""
    parts = {**PARTS, "block": block}
    pieces = Formatter().parse(left)
    return re.compile(
        "".join(re.escape(text) + (f"(?P<{p}>{parts[p]})" if p else "") for text, p, _, _ in pieces)
    )
