"""Tables of weight names of S3D, R(2+1)D, R3D, MC3 and CSN; see names3d.py."""

from collections.abc import Iterator

from tanet.checkpoints.convert.weight_names import Names
from tanet.models.video_backbones.inception3d import MIXED

Parts = dict[str, str]
# Layers of S3D by the numbers that torchvision, kylemin and qijiezhao give them.
S3D_NUMBERS: dict[int, str] = {
    0: "Conv3d_1a_7x7",
    2: "Conv3d_2b_1x1",
    3: "Conv3d_2c_3x3",
    **dict(zip((5, 6, 8, 9, 10, 11, 12, 14, 15), (name for name, _, _ in MIXED), strict=True)),
}
BRANCHES = {
    "branch1.0": "b1a",
    "branch1.1": "b1b",
    "branch2.0": "b2a",
    "branch2.1": "b2b",
    "branch3.1": "b3b",
}
HOWTO100M_BRANCHES = {
    "conv_b0": "b0",
    "conv_b1_a": "b1a",
    "conv_b1_b": "b1b",
    "conv_b2_a": "b2a",
    "conv_b2_b": "b2b",
    "conv_b3_b": "b3b",
}
GATED = ("b0", "b1b", "b2b", "b3b")
SEPARATED = ("Conv3d_1a_7x7", "Conv3d_2c_3x3", "b1b", "b2b")

TORCHVISION_RESNET: Parts = {"0.0": "space", "0.1": "norm_space", "0.3": "time", "1": "norm"}
CONV_NORM: Parts = {"0": "conv", "1": "norm"}
MMACTION2_R2PLUS1D: Parts = {
    "conv.conv_s": "space",
    "conv.bn_s": "norm_space",
    "conv.conv_t": "time",
    "bn": "norm",
}
IR_CSN_VMZ: Parts = {
    "conv1.0": "conv1",
    "conv1.1": "norm1",
    "conv2.0": "conv2",
    "conv2.1": "norm2",
    "conv3.0": "conv3",
    "conv3.1": "norm3",
    "downsample.0": "shortcut.conv",
    "downsample.1": "shortcut.norm",
}
IP_CSN_VMZ: Parts = {
    "conv2.0.0": "mix.conv",
    "conv2.0.1": "mix.norm",
    "conv2.0.2": "conv2",
    **{theirs: ours for theirs, ours in IR_CSN_VMZ.items() if ours != "conv2"},
}
IR_CSN_MMACTION2: Parts = {
    "conv1.conv": "conv1",
    "conv1.bn": "norm1",
    "conv2.0.conv": "conv2",
    "conv2.0.bn": "norm2",
    "conv3.conv": "conv3",
    "conv3.bn": "norm3",
    "downsample.conv": "shortcut.conv",
    "downsample.bn": "shortcut.norm",
}
IP_CSN_MMACTION2: Parts = {
    **IR_CSN_MMACTION2,
    "conv2.0.conv": "mix.conv",
    "conv2.0.bn": "mix.norm",
    "conv2.1.conv": "conv2",
    "conv2.1.bn": "norm2",
}


def _pairs(theirs: str, ours: str, parts: Parts) -> Iterator[tuple[str, str]]:
    """Yield the pairs of the layers whose names follow `theirs` and `ours`."""
    for their_part, our_part in parts.items():
        yield f"{theirs}.{their_part}.{{leaf}}", f"{ours}.{our_part}.{{leaf}}"


def _numbered_s3d(prefix: str, branch0: str, *, head: str, plain: Parts, separated: Parts) -> Names:
    """Return the table of an S3D whose layers are numbered.

    Args:
        prefix: prefix of the numbers.
        branch0: name of the layer of branch 0.
        head: name of the classifier.
        plain: parts of a layer with one convolution.
        separated: parts of a layer with a spatial and a temporal convolution.
    """
    pairs = [(f"{head}.{{leaf}}", "head.{leaf}")]
    for number, name in S3D_NUMBERS.items():
        if name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"):
            parts = separated if name in SEPARATED else plain
            pairs += _pairs(f"{prefix}.{number}", f"{name}.layers", parts)
            continue
        for theirs, ours in {branch0: "b0", **BRANCHES}.items():
            parts = separated if ours in SEPARATED else plain
            pairs += _pairs(f"{prefix}.{number}.{theirs}", f"{name}.{ours}.layers", parts)
    return tuple(pairs)


def _howto100m() -> Names:
    plain = {"conv1": "conv", "bn1": "norm"}
    separated = {"conv1": "space", "bn1": "norm_space", "conv2": "time", "bn2": "norm"}
    pairs = [("fc.{leaf}", "head.{leaf}"), ("gating.fc.{leaf}", "Conv3d_2c_3x3.gate.fc.{leaf}")]
    pairs += _pairs("conv1", "Conv3d_1a_7x7.layers", plain)
    pairs += _pairs("conv_2b", "Conv3d_2b_1x1.layers", plain)
    pairs += _pairs("conv_2c", "Conv3d_2c_3x3.layers", separated)
    for name, _, _ in MIXED:
        block = name.lower()
        for theirs, ours in HOWTO100M_BRANCHES.items():
            parts = separated if ours in SEPARATED else plain
            pairs += _pairs(f"{block}.{theirs}", f"{name}.{ours}.layers", parts)
        for number, ours in enumerate(GATED):
            pairs += _pairs(block, name, {f"gating_b{number}.fc": f"{ours}.gate.fc"})
    return tuple(pairs)


def _residual(
    stem: Parts, blocks: dict[str, Parts], *, first: str = "", stage: str = "layer", head: str = "fc"
) -> Names:
    """Return the table of a residual network.

    Args:
        stem: parts of the stem.
        blocks: layer of a block in their names and in ours, as "theirs ours" → parts of the layer.
        first: prefix of all names but those of the classifier.
        stage: prefix of the number of a stage, which counts from 1.
        head: name of the classifier.
    """
    pairs = [(f"{head}.{{leaf}}", "head.{leaf}")]
    pairs += [(f"{first}{theirs}.{{leaf}}", f"stem.{ours}.{{leaf}}") for theirs, ours in stem.items()]
    for number in range(1, 5):
        for layers, parts in blocks.items():
            theirs, ours = layers.split(" ") if layers else ("", "")
            block, res = f"{first}{stage}{number}.{{i}}", f"res{number + 1}.{{i}}"
            pairs += _pairs(f"{block}.{theirs}" if theirs else block, f"{res}.{ours}" if ours else res, parts)
    return tuple(pairs)


S3D: dict[str, Names] = {
    "torchvision": _numbered_s3d(
        "features",
        "branch0",
        head="classifier.1",
        plain=CONV_NORM,
        separated={"0.0": "space", "0.1": "norm_space", "1.0": "time", "1.1": "norm"},
    ),
    "kylemin": _numbered_s3d(
        "base",
        "branch0.0",
        head="fc.0",
        plain={"conv": "conv", "bn": "norm"},
        separated={"conv_s": "space", "bn_s": "norm_space", "conv_t": "time", "bn_t": "norm"},
    ),
    "qijiezhao": _numbered_s3d(
        "features",
        "branch0.0",
        head="features.18",
        plain={"conv": "conv", "bn": "norm"},
        separated={"conv": "space", "bn": "norm_space", "conv2": "time", "bn2": "norm"},
    ),
    "HowTo100M": _howto100m(),
}
_RESNET_STEM = {"stem.0": "space", "stem.1": "norm_space", "stem.3": "time", "stem.4": "norm"}
_R2PLUS1D = _residual(
    _RESNET_STEM,
    {
        "conv1 unit1": TORCHVISION_RESNET,
        "conv2 unit2": TORCHVISION_RESNET,
        "downsample shortcut": CONV_NORM,
    },
)
VIDEO_RESNET: dict[str, Names] = {
    "torchvision": _R2PLUS1D,
    "torchvision, 3d": _residual(
        {"stem.0": "conv", "stem.1": "norm"},
        {"conv1 unit1": CONV_NORM, "conv2 unit2": CONV_NORM, "downsample shortcut": CONV_NORM},
    ),
    "VMZ": _R2PLUS1D,
    "mmaction2": _residual(
        {f"conv1.{theirs}": ours for theirs, ours in MMACTION2_R2PLUS1D.items()},
        {
            "conv1 unit1": MMACTION2_R2PLUS1D,
            "conv2 unit2": MMACTION2_R2PLUS1D,
            "downsample shortcut": MMACTION2_R2PLUS1D,
        },
        first="backbone.",
        head="cls_head.fc_cls",
    ),
}
_MMACTION2_STEM = {"conv1.conv": "conv", "conv1.bn": "norm"}
CSN: dict[str, Names] = {
    "VMZ": _residual({"stem.0": "conv", "stem.1": "norm"}, {"": IP_CSN_VMZ}),
    "VMZ, reduced": _residual({"stem.0": "conv", "stem.1": "norm"}, {"": IR_CSN_VMZ}),
    "mmaction2": _residual(
        _MMACTION2_STEM, {"": IP_CSN_MMACTION2}, first="backbone.", head="cls_head.fc_cls"
    ),
    "mmaction2, reduced": _residual(
        _MMACTION2_STEM, {"": IR_CSN_MMACTION2}, first="backbone.", head="cls_head.fc_cls"
    ),
}
