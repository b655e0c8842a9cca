"""Translation of weight names between a VideoNet and other projects, in both directions.

Each project has a table: a list of pairs (pattern of the other project's name, pattern of our name). A name
is translated by the first pair whose pattern matches the name. A pattern can contain these placeholders:

    {block}    a block, for example layer1.0; in our names, only a block with a TAM
    {at}       a block followed by a dot, or nothing
    {n}        a digit
    {p}        the rest of the name

Multi-GPU training adds the prefix `module.` to every name. The tables do not contain this prefix.
"""

import re
from collections.abc import Iterable
from string import Formatter

Names = tuple[tuple[str, str], ...]

# Names in the published code of TANet, and in the code of TSM and TSN, which TANet's code is based on.
# A comment after a pair says which checkpoint files contain these names.
OFFICIAL: Names = (
    ("base_model.{block}.tam.{p}", "backbone.{block}.conv2.temporal.{p}"),
    ("base_model.{block}.self_conv.conv_f.{p}", "backbone.{block}.conv2.temporal.G.{p}"),  # older files
    ("base_model.{block}.self_conv.conv_g.{p}", "backbone.{block}.conv2.temporal.L.{p}"),  # older files
    ("base_model.{block}.net.{p}", "backbone.{block}.{p}"),
    ("base_model.{block}.conv1.net.{p}", "backbone.{block}.conv1.{p}"),  # TSM
    ("new_fc.{p}", "head.{p}"),
    ("base_model.fc.{p}", "head.{p}"),  # trained without dropout
    ("base_model.{p}", "backbone.{p}"),
)
MMACTION2: Names = (
    ("backbone.{block}.tam.{p}", "backbone.{block}.conv2.temporal.{p}"),
    ("backbone.{block}.block.conv{n}.conv.{p}", "backbone.{block}.conv{n}.{p}"),
    ("backbone.{block}.block.conv{n}.bn.{p}", "backbone.{block}.bn{n}.{p}"),
    ("backbone.{block}.block.downsample.conv.{p}", "backbone.{block}.downsample.0.{p}"),
    ("backbone.{block}.block.downsample.bn.{p}", "backbone.{block}.downsample.1.{p}"),
    ("backbone.{block}.conv1.conv.net.{p}", "backbone.{block}.conv1.{p}"),  # TSM
    ("backbone.{at}conv{n}.conv.{p}", "backbone.{at}conv{n}.{p}"),
    ("backbone.{at}conv{n}.bn.{p}", "backbone.{at}bn{n}.{p}"),
    ("backbone.{at}downsample.conv.{p}", "backbone.{at}downsample.0.{p}"),
    ("backbone.{at}downsample.bn.{p}", "backbone.{at}downsample.1.{p}"),
    ("cls_head.fc_cls.{p}", "head.{p}"),
)
TANET: Names = (("{p}", "{p}"),)
TORCHVISION: Names = (
    ("fc.{p}", "head.{p}"),
    ("classifier.1.{p}", "head.{p}"),  # MobileNetV2
    ("{p}", "backbone.{p}"),
)
BLOCK = r"layer[1-4]\.\d+"
PARTS = {"at": rf"(?:{BLOCK}\.)?", "n": r"\d", "p": r".+"}


def to_ours(theirs: Iterable[str], table: Names) -> dict[str, str]:
    """Map another project's weight names to ours. Names that match no pair of the table stay unchanged."""
    return {name: _translate(name, table, block=BLOCK) for name in theirs}


def to_theirs(ours: Iterable[str], table: Names) -> dict[str, str]:
    """Map our weight names to another project's names. Names that match no pair of the table stay unchanged.

    `ours` must contain all names of one network, because the names show which blocks have a TAM.
    """
    ours = list(ours)
    # Let {block} match only blocks with a TAM. Names in other blocks must match a pattern with {at} or {p}.
    block = "|".join(map(re.escape, tam_blocks(ours))) or "(?!)"
    turned = tuple((own, theirs) for theirs, own in table)
    return {name: _translate(name, turned, block=block) for name in ours}


def tam_blocks(ours: Iterable[str]) -> list[str]:
    """Return the blocks (layer1.0, …) that have a TAM before conv2, given our weight names."""
    return _blocks(ours, rf"backbone\.({BLOCK})\.conv2\.temporal\..+")


def shifted_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks (layer1.0, …) with a temporal shift before conv1, given another project's names."""
    return _blocks(theirs, rf".+\.({BLOCK})\.conv1\.(?:conv\.)?net\.weight")


def wrapped_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks (layer1.0, …) that another module wraps as a whole, given another project's names."""
    return _blocks(theirs, rf".+\.({BLOCK})\.net\..+")


def all_blocks(ours: Iterable[str]) -> list[str]:
    """Return all blocks (layer1.0, …) of a ResNet, given our weight names."""
    return _blocks(ours, rf"backbone\.({BLOCK})\..+")


def _blocks(names: Iterable[str], pattern: str) -> list[str]:
    return list(dict.fromkeys(match[1] for name in names if (match := re.fullmatch(pattern, name))))


def _translate(name: str, table: Names, *, block: str) -> str:
    """Translate a name by the first pair whose left side matches. If no pair matches, return the name."""
    parts = {**PARTS, "block": block}
    for left, right in table:
        pieces = Formatter().parse(left)
        pattern = "".join(re.escape(text) + (f"(?P<{p}>{parts[p]})" if p else "") for text, p, _, _ in pieces)
        if match := re.fullmatch(pattern, name):
            return right.format_map(match.groupdict())
    return name
