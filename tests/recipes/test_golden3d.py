"""The recipes of 3D networks have the values of papers and published settings files, listed here in full.

The settings files are those of PySlowFast (configs/Kinetics, and the defaults in slowfast/config/defaults.py)
and of video-nonlocal-net (configs/DBG_kinetics_resnet_8gpu_c2d_nonlocal_400k.yaml and scripts/).
"""

import importlib
import math
import re

import pytest

from tanet.cli import main
from tanet.evaluation.protocols import find_protocol
from tanet.models.architectures import ARCHITECTURES
from tanet.models.factory import build
from tanet.profiling.flops import build_on_meta
from tanet.recipes import RECIPES
from tanet.recipes.input_spec import spec_of
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe
from tanet.training.optimizer import make_optimizer
from tanet.training.schedule import lr_at
from tests.recipes.test_golden import recipe_values
from tests.recipes.test_golden2d import GOLDEN as HYBRIDS
from tests.support.narrow_networks import SLOWFAST

# 8 GPUs with 8 clips each. RANDOM_FLIP and NESTEROV are PySlowFast's defaults, without limits of gradients.
PYSLOWFAST = {
    "data.sampling": "dense",
    "data.rate": "30fps",  # TARGET_FPS 30
    "data.short_sides": (256, 320),  # TRAIN_JITTER_SCALES
    "data.size": 224,  # TRAIN_CROP_SIZE
    "data.flip": "plain",
    "model.dropout": 0.5,  # DROPOUT_RATE
    "optim.method": "sgd",
    "optim.epochs": 196,  # MAX_EPOCH
    "optim.lr": 0.1,  # BASE_LR
    "optim.lr_batch": 64,
    "optim.schedule": "full-cosine",  # LR_POLICY cosine, COSINE_AFTER_WARMUP False
    "optim.warmup": 34,  # WARMUP_EPOCHS
    "optim.warmup_lr": 0.01,  # WARMUP_START_LR
    "optim.batch": 64,  # TRAIN.BATCH_SIZE
    "optim.momentum": 0.9,
    "optim.nesterov": True,
    "optim.weight_decay": 1e-4,  # BN.WEIGHT_DECAY 0.0
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 10,  # NUM_ENSEMBLE_VIEWS
    "eval.crops": 3,  # NUM_SPATIAL_CROPS
    "eval.resize": 256,  # TEST_CROP_SIZE
    "eval.size": 256,
    "eval.style": "pyslowfast",
    "eval.average": "softmax",
}
R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)
TWO_PATHWAYS = {
    "model.frames": 32,  # NUM_FRAMES
    "data.window": 64,  # NUM_FRAMES · SAMPLING_RATE
    "model.blocks": R50,
    "model.fast_blocks": R50,
    "model.temporal_blocks": R50,  # NUM_BLOCK_TEMP_KERNEL
    "model.slow_frames": "linspace",
    "model.attention": "dot",  # INSTANTIATION dot_product
}
SLOWFAST_16X8 = TWO_PATHWAYS | {
    "model.frames": 64,
    "data.window": 128,
    "model.blocks": R101,
    "model.fast_blocks": R101,
    "model.speed_ratio": 4,
    "model.lateral_kernel": 5,
}
SMALL_X3D = {
    "model.width_factor": 2.0,
    "model.depth_factor": 2.2,
    "optim.epochs": 300,
    "optim.lr": 0.1,  # 1 machine
    "optim.lr_batch": 128,
    "optim.batch": 128,
    "optim.warmup": 35,
    "optim.weight_decay": 5e-5,
}
LARGE_X3D = SMALL_X3D | {
    "model.frames": 16,
    "data.window": 80,  # 16 · 5
    "model.depth_factor": 5.0,
    "model.head_window": 10,
    "data.short_sides": (356, 446),
    "data.size": 312,
    "optim.epochs": 256,
    "optim.lr": 0.05,
    "optim.lr_batch": 64,
    "optim.batch": 64,
    "eval.resize": 356,
    "eval.size": 356,
}
SMALL_FRAMES = {
    "data.short_sides": (182, 228),
    "data.size": 160,
    "model.head_window": 5,
    "eval.resize": 182,
    "eval.size": 182,
}
I3D_R50 = {  # the paper (section 4.1); Nesterov and the decay of biases: video-nonlocal-net
    "data.sampling": "dense",
    "data.window": 64,  # "randomly cropping out 64 consecutive frames … and then dropping every other frame"
    "data.rate": "video",
    "data.short_sides": (256, 320),
    "data.size": 224,
    "data.flip": "plain",
    "model.frames": 32,
    "model.temporal_blocks": ("all", "even", "even", "odd"),
    "model.stem_kernel": 5,
    "model.stem_stride": 2,
    "model.pool1": "unpadded",
    "model.pool2": "2x1x1",
    "model.dropout": 0.5,
    "optim.method": "sgd",
    "optim.epochs": 104,  # 400,000 iterations
    "optim.lr": 0.01,
    "optim.schedule": "step",
    "optim.milestones": (39, 78),  # 150,000 and 300,000 iterations
    "optim.gamma": 0.1,
    "optim.warmup": 0,
    "optim.lr_batch": 0,
    "optim.batch": 64,
    "optim.momentum": 0.9,
    "optim.nesterov": True,
    "optim.weight_decay": 1e-4,
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 10,
    "eval.crops": 3,
    "eval.resize": 256,
    "eval.size": 256,
    "eval.style": "tanet",
    "eval.average": "softmax",
}
I3D_INCEPTION = {  # the paper (section 2.5), except for the values of pytorch-i3d's author
    "data.sampling": "dense",
    "data.window": 64,
    "data.rate": "video",
    "data.short_sides": (256, 256),
    "data.size": 224,
    "data.flip": "plain",
    "model.frames": 64,
    "model.dropout": 0.5,
    "optim.method": "sgd",
    "optim.epochs": 171,  # 110,000 steps
    "optim.lr": 0.1,  # pytorch-i3d
    "optim.lr_batch": 384,
    "optim.schedule": "step",
    "optim.milestones": (118,),  # pytorch-i3d: after 45,000 of 65,000 steps
    "optim.gamma": 0.1,
    "optim.warmup": 0,
    "optim.batch": 384,  # pytorch-i3d: 6 clips on each of 64 GPUs
    "optim.momentum": 0.9,
    "optim.nesterov": False,  # "standard SGD"
    "optim.weight_decay": 1e-7,  # pytorch-i3d
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 1,
    "eval.crops": 1,
    "eval.frames": 250,
    "eval.resize": 256,
    "eval.size": 224,
    "eval.style": "tanet",
    "eval.average": "logits",
}
S3D_G = {  # the paper's training; the weight decay is that of the authors' code
    "data.sampling": "dense",
    "data.window": 64,
    "data.short_sides": (256, 256),
    "data.size": 224,
    "data.flip": "plain",
    "model.frames": 64,
    "model.gates": "plain",
    "model.head_window": "2",
    "model.dropout": 0.2,
    "optim.epochs": 109,  # 80,000 steps
    "optim.lr": 0.1,
    "optim.lr_batch": 336,
    "optim.milestones": (82, 95),  # 60,000 and 70,000 steps
    "optim.gamma": 0.1,
    "optim.batch": 336,  # 6 clips on each of 56 GPUs
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-7,
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 10,
    "eval.crops": 3,
    "eval.resize": 256,
    "eval.size": 256,
    "eval.average": "softmax",
}
VMZ = {  # c2/scripts/train_r2plus1d_kinetics.sh and c2/tools/train_net.py
    "data.sampling": "dense",
    "data.window": 64,  # 32 frames, every second one
    "data.flip": "plain",
    "model.frames": 32,
    "model.dropout": 0.0,
    "optim.lr": 0.01,  # for each GPU
    "optim.momentum": 0.9,
    "optim.nesterov": True,
    "optim.weight_decay": 1e-4,
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 10,
    "eval.average": "softmax",
}
R2PLUS1D = VMZ | {
    "data.resize": 128,
    "data.resize_width": 171,
    "data.short_sides": (128, 128),
    "data.size": 112,
    "model.blocks": (3, 4, 6, 3),
    "model.style": "vmz",
    "optim.epochs": 142,  # 35 times a million clips
    "optim.lr_batch": 32,  # clips of a GPU
    "optim.milestones": (41, 81, 122),  # every 10 million clips
    "optim.batch": 256,
    "eval.resize": 128,
    "eval.resize_width": 171,
    "eval.size": 112,
}
CSN_152 = VMZ | {  # the schedule is that of the paper
    "data.short_sides": (256, 256),
    "data.size": 224,
    "model.blocks": (3, 8, 36, 3),
    "model.interaction": "preserved",
    "optim.epochs": 183,  # 45 times a million clips
    "optim.schedule": "cosine",
    "optim.milestones": (),
    "optim.warmup": 41,  # the first 10 million clips
    "optim.lr_batch": 8,
    "optim.batch": 64,
    "eval.crops": 3,
    "eval.resize": 256,
    "eval.size": 256,
}
TORCHVISION = {  # torchvision/models/video/README.md and the defaults of references/video_classification
    "data.sampling": "dense",
    "data.window": 32,  # 16 frames at 15 of 30 frames per second
    "data.resize": 128,
    "data.resize_width": 171,
    "data.short_sides": (128, 128),
    "data.size": 112,
    "data.flip": "plain",
    "model.frames": 16,
    "model.blocks": (2, 2, 2, 2),
    "model.style": "torchvision",
    "model.norm_eps": 1e-5,
    "model.dropout": 0.0,
    "optim.epochs": 225,  # 45 with 5 clips of each video
    "optim.lr": 0.01,  # for each GPU
    "optim.lr_batch": 24,
    "optim.milestones": (100, 150, 200),  # 20, 30, 40
    "optim.warmup": 50,  # 10
    "optim.warmup_lr": 1e-5,
    "optim.batch": 192,
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4,
    "optim.biases": "like-weights",
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 5,
    "eval.resize": 128,
    "eval.resize_width": 171,
    "eval.size": 112,
    "eval.average": "softmax",
}
ARTNET_R18 = {  # models/112_artnet_resnet_18_train_solver.prototxt and …_train_val.prototxt
    "data.sampling": "dense",
    "data.window": 16,
    "data.resize": 128,
    "data.resize_width": 170,
    "data.size": 112,
    "data.scales": (1.0, 0.875, 0.75, 0.66),
    "data.flip": "plain",
    "model.frames": 16,
    "model.dropout": 0.2,
    "optim.epochs": 227,  # 250,000 steps of 224 clips
    "optim.lr": 0.1,
    "optim.lr_batch": 224,
    "optim.milestones": (64, 127, 164, 200),  # 70,000, 140,000, 180,000 and 220,000 steps
    "optim.batch": 224,  # 28 clips on each of 8 GPUs
    "optim.momentum": 0.9,
    "optim.weight_decay": 5e-4,
    "optim.biases": "published",  # bias: twice the learning rate, no decay
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "eval.clips": 25,
    "eval.crops": 10,
    "eval.resize": 128,
    "eval.resize_width": 170,
    "eval.size": 112,
    "eval.average": "softmax",
}
GOLDEN = {
    # SLOW_8x8_R50.yaml
    "slowonly-8x8": (
        ResNet3D,
        PYSLOWFAST
        | {
            "model.frames": 8,
            "data.window": 64,  # 8 · 8
            "model.temporal_blocks": ("none", "none", "all", "all"),
            "model.stem_kernel": 1,
            "model.blocks": R50,
        },
    ),
    # SLOWFAST_4x16_R50.yaml: ALPHA 8, FUSION_KERNEL_SZ 5
    "slowfast-4x16": (
        SlowFast,
        PYSLOWFAST | TWO_PATHWAYS | {"model.speed_ratio": 8, "model.lateral_kernel": 5},
    ),
    # SLOWFAST_8x8_R50.yaml: ALPHA 4, FUSION_KERNEL_SZ 7
    "slowfast-8x8": (
        SlowFast,
        PYSLOWFAST | TWO_PATHWAYS | {"model.speed_ratio": 4, "model.lateral_kernel": 7},
    ),
    # c2/SLOWFAST_16x8_R101_50_50.yaml
    "slowfast-16x8": (SlowFast, PYSLOWFAST | SLOWFAST_16X8),
    # c2/SLOWFAST_NLN_16x8_R101_50_50.yaml: LOCATION 6, 13, 20 of res4
    "slowfast-nl-16x8": (
        SlowFast,
        PYSLOWFAST | SLOWFAST_16X8 | {"model.non_local": ("res4.6", "res4.13", "res4.20")},
    ),
    # X3D_XS.yaml, X3D_S.yaml, X3D_M.yaml, X3D_L.yaml
    "x3d-xs": (
        X3D,
        PYSLOWFAST | SMALL_X3D | SMALL_FRAMES | {"model.frames": 4, "data.window": 48},  # 4 · 12
    ),
    "x3d-s": (
        X3D,
        PYSLOWFAST | SMALL_X3D | SMALL_FRAMES | {"model.frames": 13, "data.window": 78},  # 13 · 6
    ),
    "x3d-m": (
        X3D,
        PYSLOWFAST | SMALL_X3D | {"model.frames": 16, "data.window": 80, "model.head_window": 7},  # 16 · 5
    ),
    "x3d-l": (X3D, PYSLOWFAST | LARGE_X3D),
    # No published file: the values of L with the paper's width factor.
    "x3d-xl": (X3D, PYSLOWFAST | LARGE_X3D | {"model.width_factor": 2.9}),
    "i3d-inception": (InceptionI3D, I3D_INCEPTION),
    # scripts/run_i3d_baseline_400k_32f.sh and run_i3d_nlnet_400k_32f.sh
    "i3d-r50": (ResNet3D, I3D_R50 | {"model.non_local": ()}),
    "nl-i3d-r50": (
        ResNet3D,
        I3D_R50
        | {
            "model.non_local": ("res3.1", "res3.3", "res4.1", "res4.3", "res4.5"),
            "model.attention": "softmax",
        },
    ),
    # I3D_8x8_R50.yaml
    "i3d-r50-8x8": (
        ResNet3D,
        PYSLOWFAST
        | {
            "model.frames": 8,
            "data.window": 64,  # 8 · 8
            "model.temporal_blocks": ("all", "even", "even", "odd"),
            "model.stem_kernel": 5,
            "model.stem_stride": 1,
            "model.pool1": "space",
            "model.pool2": "2x1x1",
        },
    ),
    "s3d-g": (S3D, S3D_G),
    "r2plus1d-34": (VideoResNet, R2PLUS1D),
    "ip-csn-152": (CSN, CSN_152),
    "ip-csn-50": (
        CSN,
        CSN_152
        | {
            "data.window": 16,
            "model.frames": 8,
            "model.blocks": (3, 4, 6, 3),
            "eval.crops": 1,  # Table 4 says 10 views
            "eval.size": 224,
        },
    ),
    "ir-csn-152": (CSN, CSN_152 | {"model.interaction": "reduced"}),
    "ir-csn-50": (CSN, CSN_152 | {"model.interaction": "reduced", "model.blocks": (3, 4, 6, 3)}),
    "artnet-r18": (ARTNet, ARTNET_R18),
    "r2plus1d-18": (VideoResNet, TORCHVISION | {"model.convolutions": "2+1d"}),
    "r3d-18": (VideoResNet, TORCHVISION | {"model.convolutions": "3d"}),
    "mc3-18": (VideoResNet, TORCHVISION | {"model.convolutions": "mixed"}),
}
# Parameters with 400 classes, counted in the published code (XL: widths of the paper).
PARAMETERS = {
    "slowonly-8x8": 32_454_096,
    "slowfast-4x16": 34_480_216,
    "slowfast-8x8": 34_566_488,
    "slowfast-16x8": 53_774_808,
    "slowfast-nl-16x8": 60_080_088,
    "x3d-xs": 3_794_322,
    "x3d-s": 3_794_322,
    "x3d-m": 3_794_322,
    "x3d-l": 6_153_432,
    "x3d-xl": 11_095_904,
    "i3d-r50": 28_043_472,
    "nl-i3d-r50": 35_401_936,
    "i3d-r50-8x8": 28_043_472,
    "s3d-g": 9_539_376,
    "r2plus1d-34": 63_697_175,
    "ip-csn-152": 33_016_592,
    "ip-csn-50": 14_396_176,
    "artnet-r18": 39_675_216,
    "ir-csn-152": 29_703_568,
    "ir-csn-50": 13_131_152,
    "r2plus1d-18": 31_505_325,
    "r3d-18": 33_371_472,
    "mc3-18": 11_695_440,
}
HALF = ((0.45,) * 3, (0.225,) * 3, (0.0, 1.0))
VIDEO = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989), (0.0, 1.0))
PLUS_MINUS_ONE = ((0.0,) * 3, (1.0,) * 3, (-1.0, 1.0))
# Mean, standard deviation and range; frame step; short side and size of test frames.
INPUTS = {
    "slowonly-8x8": (*HALF, 8, 256, 256),
    "slowfast-4x16": (*HALF, 2, 256, 256),
    "slowfast-8x8": (*HALF, 2, 256, 256),
    "slowfast-16x8": (*HALF, 2, 256, 256),
    "slowfast-nl-16x8": (*HALF, 2, 256, 256),
    "x3d-xs": (*HALF, 12, 182, 182),
    "x3d-s": (*HALF, 6, 182, 182),
    "x3d-m": (*HALF, 5, 256, 256),
    "x3d-l": (*HALF, 5, 356, 356),
    "x3d-xl": (*HALF, 5, 356, 356),
    "i3d-inception": (*PLUS_MINUS_ONE, 1, 256, 224),
    "i3d-r50": (*HALF, 2, 256, 256),
    "nl-i3d-r50": (*HALF, 2, 256, 256),
    "i3d-r50-8x8": (*HALF, 8, 256, 256),
    "s3d-g": (*PLUS_MINUS_ONE, 1, 256, 256),
    "r2plus1d-34": (*VIDEO, 2, 128, 112),
    "ip-csn-152": (*VIDEO, 2, 256, 256),
    "ip-csn-50": (*VIDEO, 2, 256, 224),
    "ir-csn-152": (*VIDEO, 2, 256, 256),
    "ir-csn-50": (*VIDEO, 2, 256, 256),
    "r2plus1d-18": (*VIDEO, 2, 128, 112),
    "r3d-18": (*VIDEO, 2, 128, 112),
    "mc3-18": (*VIDEO, 2, 128, 112),
    "artnet-r18": ((104.0, 117.0, 123.0), (1.0,) * 3, (0.0, 255.0), 1, 128, 112),
}
PROTOCOLS = {
    "slowfast-10x3": (
        *("slowonly-8x8", "slowfast-4x16", "slowfast-8x8", "slowfast-16x8", "slowfast-nl-16x8"),
        "i3d-r50-8x8",
    ),
    "x3d-10x3-182": ("x3d-xs", "x3d-s"),
    "x3d-10x3-256": ("x3d-m",),
    "x3d-10x3-356": ("x3d-l", "x3d-xl"),
    "i3d-video": ("i3d-inception",),
    "nonlocal-10x3": ("i3d-r50", "nl-i3d-r50"),
    "r2plus1d-10x1": ("r2plus1d-34",),
    "csn-10x3": ("ip-csn-152", "ir-csn-152", "ir-csn-50", "s3d-g"),
    "torchvision-5x1": ("r2plus1d-18", "r3d-18", "mc3-18"),
    "csn-10x1": ("ip-csn-50",),
    "artnet-25x10": ("artnet-r18",),
}
FILES = (
    "slowfast",
    "x3d",
    "i3d_r50",
    "i3d_inception",
    "pyslowfast",
    "s3d",
    "vmz",
    "artnet",
    "torchvision_video",
)
TRAINING_VIDEOS = 246_535  # of Kinetics-400, in the non-local authors' copy (DATASET.md of their code)


@pytest.mark.parametrize("name", GOLDEN)
def test_recipe_has_published_values(name):
    family, golden = GOLDEN[name]
    values = recipe_values(RECIPES[name])
    assert type(RECIPES[name].model) is family
    assert {key: values[key] for key in golden} == golden


@pytest.mark.parametrize("name", GOLDEN)
def test_other_fields_have_default_values(name):
    """A recipe must not set fields that the golden values do not list."""
    family, golden = GOLDEN[name]
    values, default = recipe_values(RECIPES[name]), recipe_values(Recipe(Data(), family(), Optim(), Eval()))
    rest = default.keys() - golden.keys()
    assert {key: values[key] for key in rest} == {key: default[key] for key in rest}


def test_every_recipe_of_a_3d_network_is_listed_here():
    others = {name for name, recipe in RECIPES.items() if recipe.model.family != "2d"}
    assert GOLDEN.keys() == others - HYBRIDS.keys()


@pytest.mark.parametrize("name", INPUTS)
def test_networks_get_published_input(name):
    spec = spec_of(RECIPES[name])
    found = (spec.mean, spec.std, spec.range, spec.frame_step, spec.resize, spec.size)
    assert found == INPUTS[name]
    assert spec.channels == ("bgr" if name == "artnet-r18" else "rgb")
    assert spec.resize_width == RECIPES[name].eval.resize_width


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_published_number_of_parameters(name):
    network = build_on_meta(RECIPES[name].model, classes=400)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recipes_are_tested_with_their_protocol(protocol):
    for name in PROTOCOLS[protocol]:
        assert find_protocol(protocol).apply(RECIPES[name]) == RECIPES[name]


def test_every_recipe_has_a_protocol():
    assert {name for names in PROTOCOLS.values() for name in names} == set(GOLDEN)


def test_recipe_and_architecture_of_one_name_have_one_network():
    shared = RECIPES.keys() & ARCHITECTURES.keys()
    assert {"x3d-m", "i3d-inception", "i3d-r50", "nl-i3d-r50", "i3d-r50-8x8"} <= shared
    for name in shared:
        recipe, spec = RECIPES[name], ARCHITECTURES[name].input_spec
        assert recipe.model == ARCHITECTURES[name].settings
        assert (spec.frame_step, spec.size) == (spec_of(recipe).frame_step, recipe.data.size)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        # The warm-up rises to 0.05 (1 + cos(34 π / 196)) = 0.09276.
        ("slowfast-4x16", {0: 0.01, 17: 0.05138, 34: 0.09276, 98: 0.05, 147: 0.01464, 196: 0}),
        # 0.05 (1 + cos(35 π / 300)) = 0.09668, 0.025 (1 + cos(35 π / 256)) = 0.04773
        ("x3d-m", {0: 0.01, 17.5: 0.05334, 35: 0.09668, 150: 0.05, 300: 0}),
        ("x3d-xl", {0: 0.01, 35: 0.04773, 128: 0.025, 256: 0}),
        ("i3d-r50", {0: 0.01, 38: 0.01, 39: 1e-3, 77: 1e-3, 78: 1e-4, 103: 1e-4}),
        ("i3d-inception", {0: 0.1, 117: 0.1, 118: 0.01, 170: 0.01}),
    ],
)
def test_learning_rate_follows_published_schedule(name, rates):
    optim = RECIPES[name].optim
    assert [lr_at(epoch, optim) for epoch in rates] == pytest.approx([*rates.values()], abs=6e-6)


def test_learning_rate_of_published_trainings_grows_with_batch():
    """The SlowFast paper has 1,024 clips and learning rate 1.6, and the same warm-up of 8,000 steps."""
    optim = RECIPES["slowfast-4x16"].optim
    paper = lr_at(98, Optim(**{**vars(optim), "batch": 1024}))
    assert paper == pytest.approx(1.6 / 2)
    assert round(8_000 * 1_024 / 240_000) == optim.warmup


def test_iterations_are_counted_in_epochs():
    def epochs(iterations, batch):
        return round(iterations * batch / TRAINING_VIDEOS)

    assert [epochs(n, 64) for n in (400_000, 150_000, 300_000)] == [104, 39, 78]
    assert epochs(110_000, 6 * 64) == 171
    assert math.floor(171 * 45_000 / 65_000) == 118


def test_optimizer_is_that_of_pyslowfast():
    network = build(SLOWFAST, classes=3)
    sgd = make_optimizer(network, RECIPES["slowfast-4x16"].optim)
    found = {g["name"]: (g["lr_scale"], g["weight_decay"], g["nesterov"]) for g in sgd.param_groups}
    assert found == {"weight": (1, 1e-4, True), "norm": (1, 0, True)}
    weights = next(group["params"] for group in sgd.param_groups if group["name"] == "weight")
    assert any(parameter is network.head.bias for parameter in weights)


@pytest.mark.parametrize("module", FILES)
def test_commands_of_docstring_are_valid(module, capsys):
    told = importlib.import_module(f"tanet.recipes.{module}").__doc__ or ""
    known = {key for recipe in RECIPES.values() for key in recipe_values(recipe)}
    flags = re.findall(r"--((?:data|model|optim|eval)\.[a-z-]+)", told)
    assert {flag.replace("-", "_") for flag in flags} <= known
    for name in re.findall(r"tanet train ([\w-]+)", told):
        assert main(["train", name, "--help"]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
