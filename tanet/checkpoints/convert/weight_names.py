"""What other projects call the weights of a VideoNet: one table for each, which is read in both directions.

    (theirs, ours)      the first pair that matches a name on one side says what it is on the other

{block} stands for a block with a temporal module, {at} for any block or none, {n} for a digit, {p} for the
rest. `module.`, which training on many GPUs puts before every name, is not in the tables.
"""

import re
from collections.abc import Iterable
from string import Formatter

Names = tuple[tuple[str, str], ...]

# TANet's published code; it grew out of TSM's and TSN's, whose names are the same.
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
    """{theirs: ours}; a name that the table does not know stays."""
    return {name: _translate(name, table, block=BLOCK) for name in theirs}


def to_theirs(ours: Iterable[str], table: Names) -> dict[str, str]:
    """{ours: theirs} for all names of one network; a name that the table does not know stays."""
    ours = list(ours)
    # Only in blocks with a TAM do they call the 2D weights otherwise.
    block = "|".join(map(re.escape, tam_blocks(ours))) or "(?!)"
    turned = tuple((own, theirs) for theirs, own in table)
    return {name: _translate(name, turned, block=block) for name in ours}


def tam_blocks(ours: Iterable[str]) -> list[str]:
    """The blocks with a TAM before conv2, by our names: layer1.0, …"""
    return _blocks(ours, rf"backbone\.({BLOCK})\.conv2\.temporal\..+")


def shifted_blocks(theirs: Iterable[str]) -> list[str]:
    """The blocks with a temporal shift before conv1, by their names: layer1.0, …"""
    return _blocks(theirs, rf".+\.({BLOCK})\.conv1\.(?:conv\.)?net\.weight")


def wrapped_blocks(theirs: Iterable[str]) -> list[str]:
    """The blocks that stand as a whole in a module of another, by their names: layer1.0, …"""
    return _blocks(theirs, rf".+\.({BLOCK})\.net\..+")


def all_blocks(ours: Iterable[str]) -> list[str]:
    """The blocks of a ResNet, by our names: layer1.0, …"""
    return _blocks(ours, rf"backbone\.({BLOCK})\..+")


def _blocks(names: Iterable[str], pattern: str) -> list[str]:
    return list(dict.fromkeys(match[1] for name in names if (match := re.fullmatch(pattern, name))))


def _translate(name: str, table: Names, *, block: str) -> str:
    """The name by the first pair whose left side it is, put as the right side says."""
    parts = {**PARTS, "block": block}
    for left, right in table:
        pieces = Formatter().parse(left)
        pattern = "".join(re.escape(text) + (f"(?P<{p}>{parts[p]})" if p else "") for text, p, _, _ in pieces)
        if match := re.fullmatch(pattern, name):
            return right.format_map(match.groupdict())
    return name
