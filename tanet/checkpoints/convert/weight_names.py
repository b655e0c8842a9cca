"""Names of a VideoNet's weights in other projects: one table per project, used in both directions.

A table is a list of pairs (theirs, ours). The first pair whose pattern matches a name gives the name on the
other side. {block} matches a block with a temporal module, {at} the prefix of any block or nothing, {n} a
digit, and {p} the rest. The prefix `module.` that multi-GPU training adds to every name is not in the tables.
"""

import re
from collections.abc import Iterable
from string import Formatter

Names = tuple[tuple[str, str], ...]

# The published code of TANet, and that of TSM and TSN, on which it builds.
# Comments mark the names that only some of these files use.
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
    """Map their names to ours, {theirs: ours}. Names that match no pair of the table stay as they are."""
    return {name: _translate(name, table, block=BLOCK) for name in theirs}


def to_theirs(ours: Iterable[str], table: Names) -> dict[str, str]:
    """Map all names of one network, {ours: theirs}. Names that match no pair stay as they are."""
    ours = list(ours)
    # {block} must match only blocks with a TAM: names in other blocks follow the patterns with {at} or {p}.
    block = "|".join(map(re.escape, tam_blocks(ours))) or "(?!)"
    turned = tuple((own, theirs) for theirs, own in table)
    return {name: _translate(name, turned, block=block) for name in ours}


def tam_blocks(ours: Iterable[str]) -> list[str]:
    """Return the blocks with a TAM before conv2 (layer1.0, …), given our weight names."""
    return _blocks(ours, rf"backbone\.({BLOCK})\.conv2\.temporal\..+")


def shifted_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks with a temporal shift before conv1 (layer1.0, …), given their weight names."""
    return _blocks(theirs, rf".+\.({BLOCK})\.conv1\.(?:conv\.)?net\.weight")


def wrapped_blocks(theirs: Iterable[str]) -> list[str]:
    """Return the blocks that are wrapped as a whole in another module (layer1.0, …), given their names."""
    return _blocks(theirs, rf".+\.({BLOCK})\.net\..+")


def all_blocks(ours: Iterable[str]) -> list[str]:
    """Return the blocks of a ResNet (layer1.0, …), given our weight names."""
    return _blocks(ours, rf"backbone\.({BLOCK})\..+")


def _blocks(names: Iterable[str], pattern: str) -> list[str]:
    return list(dict.fromkeys(match[1] for name in names if (match := re.fullmatch(pattern, name))))


def _translate(name: str, table: Names, *, block: str) -> str:
    """Translate a name by the first pair whose left side matches it; return it unchanged if none does."""
    parts = {**PARTS, "block": block}
    for left, right in table:
        pieces = Formatter().parse(left)
        pattern = "".join(re.escape(text) + (f"(?P<{p}>{parts[p]})" if p else "") for text, p, _, _ in pieces)
        if match := re.fullmatch(pattern, name):
            return right.format_map(match.groupdict())
    return name
