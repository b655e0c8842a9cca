"""3D networks have the published numbers of parameters and multiply-adds, layers and temporal kernels.

The numbers were obtained by running the public code of each network with 400 classes. Multiply-adds are those
of convolutions, linear layers and TAM's kernels, in G. Those of attention's products are listed apart.
"""

from dataclasses import replace
from functools import cache

import pytest

from tanet.models.architectures import ARCHITECTURES
from tanet.models.temporal import TAM
from tanet.models.video_backbones.resnet3d import Block3d
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes.networks3d_factored import S3D

# Name: parameters, {frame size: (multiply-adds, those of attention's products)}
PUBLISHED = {
    "i3d-inception": (12_697_264, {224: (111.153, 0), 256: (145.187, 0)}),
    "i3d-r50": (28_043_472, {}),
    "i3d-r50-8x8": (28_043_472, {224: (28.408, 0), 256: (37.104, 0)}),
    "i3d-r50-mmaction2": (28_043_472, {224: (33.128, 0)}),
    "nl-i3d-r50": (35_401_936, {224: (37.968, 2.990), 256: (49.639, 5.100)}),
    "nl-i3d-r50-128f": (35_401_936, {224: (151.869, 47.835), 256: (198.553, 81.604)}),
    "nl-i3d-r50-8x8": (35_401_936, {224: (33.546, 2.990), 256: (43.815, 5.100)}),
    "nl-i3d-r50-mmaction2": (35_397_840, {}),
    "slowonly-r50": (32_454_096, {224: (41.741, 0), 256: (54.518, 0)}),
    "slowfast-r50-4x16": (34_480_216, {224: (27.639, 0), 256: (36.099, 0)}),
    "slowfast-r50-8x8": (34_566_488, {224: (50.309, 0), 256: (65.709, 0)}),
    "slowfast-r101-8x8": (62_826_968, {224: (96.397, 0)}),
    "slowfast-r101-50-8x8": (53_774_808, {224: (81.548, 0)}),
    "slowfast-r101-16x8": (53_774_808, {224: (163.095, 0), 256: (213.021, 0)}),
    "slowfast-nl-r50-4x16": (41_838_680, {224: (32.777, 2.990)}),
    "slowfast-nl-r101-16x8": (60_080_088, {224: (175.426, 7.553), 256: (229.127, 12.885)}),
    "tam-slowfast-r50-4x16": (27_130_380, {224: (21.805, 0), 256: (28.478, 0)}),
    "tam-slowfast-r50-8x8": (27_217_876, {224: (39.555, 0), 256: (51.660, 0)}),
    "tam-slowfast-r101-16x8": (46_533_796, {224: (141.590, 0), 256: (184.926, 0)}),
    "tam-slowonly-r50": (25_510_688, {256: (42.736, 0)}),
    "s3d": (8_320_048, {224: (71.916, 0)}),
    "s3d-g": (9_539_376, {224: (71.917, 0), 256: (93.94, 0)}),
    "s3d-g-howto100m": (9_535_072, {224: (64.182, 0)}),
    "s3d-g-howto100m-cells": (9_556_000, {224: (73.565, 0)}),
    "r2plus1d-34": (63_697_175, {112: (152.356, 0), 128: (198.995, 0)}),
    "r2plus1d-34-8f": (63_697_175, {112: (38.089, 0)}),
    "r2plus1d-34-mmaction2": (63_759_281, {112: (41.180, 0), 224: (162.244, 0)}),
    "r2plus1d-18": (31_505_325, {112: (40.519, 0)}),
    "r3d-18": (33_371_472, {112: (40.697, 0)}),
    "mc3-18": (11_695_440, {112: (43.343, 0)}),
    "ip-csn-50": (14_396_176, {224: (11.914, 0), 256: (15.560, 0)}),
    "ip-csn-152": (33_016_592, {224: (83.295, 0), 256: (108.793, 0)}),
    "ir-csn-50": (13_131_152, {224: (42.309, 0)}),
    "ir-csn-101": (22_213_776, {224: (56.468, 0)}),
    "ir-csn-152": (29_703_568, {224: (74.046, 0)}),
    # 0.006 G fewer than with the fixed pooling of the authors' code as convolutions
    "artnet-r18": (39_675_216, {112: (25.684, 0), 128: (33.546, 0)}),
    "x3d-xs": (3_794_322, {160: (0.605, 0), 182: (0.839, 0)}),
    "x3d-s": (3_794_322, {160: (1.963, 0), 182: (2.722, 0)}),
    "x3d-m": (3_794_322, {224: (4.732, 0), 256: (6.181, 0)}),
    "x3d-l": (6_153_432, {312: (18.368, 0), 356: (24.764, 0)}),
    "x3d-xl": (11_095_904, {312: (35.838, 0), 356: (48.407, 0)}),
}


@cache
def network(name):
    """Return a network whose classifier answers once for the whole map, as in the published counts."""
    settings = ARCHITECTURES[name].settings
    if hasattr(settings, "head_window"):
        settings = replace(settings, head_window="all" if isinstance(settings, S3D) else 0)
    return build_on_meta(settings, classes=400)


def parameters_of(settings):
    return sum(parameter.numel() for parameter in build_on_meta(settings, classes=400).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_multiply_adds_match_published_numbers(name):
    parameters, counts = PUBLISHED[name]
    assert sum(parameter.numel() for parameter in network(name).parameters()) == parameters
    for size, (layers, products) in counts.items():
        total = count_cost(network(name), size=size).total
        assert total.layers / 1e9 == pytest.approx(layers, rel=2e-4, abs=5e-4)
        assert total.products / 1e9 == pytest.approx(products, abs=5e-4)


def test_padded_first_pooling_gives_figure_of_table_4():
    settings = replace(ARCHITECTURES["nl-i3d-r50-128f"].settings, pool1="skip", head_window=0)
    total = count_cost(build_on_meta(settings, classes=400), size=256).total
    assert total.layers / 1e9 == pytest.approx(199.918, abs=5e-4)
    assert total.macs / 1e9 == pytest.approx(281.5, abs=0.05)


def test_larger_frames_cost_a_classifier_for_each_window():
    model = ARCHITECTURES["x3d-xs"].settings
    windows = count_cost(build_on_meta(model, classes=400), size=182).total.layers
    # 182 pixels become a map of 6 × 6, which has four windows of 5 × 5.
    assert windows - count_cost(network("x3d-xs"), size=182).total.layers == 3 * 2048 * (432 + 400)


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        ("slowfast-r50-4x16", {}, 34_479_288),
        ("slowfast-r50-8x8", {}, 34_565_560),
        ("slowfast-r101-8x8", {"lateral_kernel": 7}, 62_912_312),
        ("slowfast-r101-8x8", {"fast_blocks": (3, 4, 6, 3), "speed_ratio": 8}, 62_384_312),
    ],
)
def test_slowfast_of_mmaction2_has_no_lateral_norms(name, changes, parameters):
    settings = replace(ARCHITECTURES[name].settings, lateral_norm=False, **changes)
    assert parameters_of(settings) == parameters


def test_x3d_has_parameters_of_its_paper():
    """The X3D paper does not count one-dimensional tensors."""
    for name, expected in (("x3d-m", 3_758_738), ("x3d-l", 6_079_226), ("x3d-xl", 10_989_080)):
        assert sum(p.numel() for p in network(name).parameters() if p.ndim > 1) == expected


def taps(stage):
    return [block.conv1.kernel_size[0] for block in stage]


def test_temporal_kernels_are_in_published_blocks():
    i3d = network("i3d-r50-8x8")
    found = [taps(stage) for stage in (i3d.res2, i3d.res3, i3d.res4, i3d.res5)]
    assert found == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    slowonly = network("slowonly-r50")
    assert [{*taps(stage)} for stage in (slowonly.res2, slowonly.res3)] == [{1}, {1}]
    assert [{*taps(stage)} for stage in (slowonly.res4, slowonly.res5)] == [{3}, {3}]
    deep = network("slowfast-r101-16x8")
    assert [{*taps(stage)} for stage in deep.slow.stages()[:2]] == [{1}, {1}]
    assert taps(deep.slow.res4) == taps(deep.fast.res4) == [3] * 6 + [1] * 17
    assert [{*taps(stage)} for stage in (deep.fast.res2, deep.fast.res3, deep.fast.res5)] == [{3}, {3}, {3}]


def test_non_local_blocks_are_in_published_places():
    def places(owner):
        return [
            name for name, block in owner.named_modules() if isinstance(block, Block3d) and block.non_local
        ]

    assert places(network("nl-i3d-r50")) == ["res3.1", "res3.3", "res4.1", "res4.3", "res4.5"]
    assert places(network("slowfast-nl-r101-16x8").slow) == ["res4.6", "res4.13", "res4.20"]


def test_tams_replace_all_temporal_kernels():
    def frames(pathway):
        return [module.frames for module in pathway.modules() if isinstance(module, TAM)]

    slowfast = network("tam-slowfast-r50-4x16")
    assert (frames(slowfast.slow), frames(slowfast.fast)) == ([4] * 9, [32] * 16)
    deep = network("tam-slowfast-r101-16x8")
    assert (frames(deep.slow), frames(deep.fast)) == ([16] * 9, [64] * 16)
    assert frames(build_on_meta(ARCHITECTURES["tam-i3d-r50"].settings, classes=2)) == [8] * 3 + [4] * 6
    kernels = {block.conv1.kernel_size[0] for block in slowfast.modules() if isinstance(block, Block3d)}
    assert kernels == {1}
