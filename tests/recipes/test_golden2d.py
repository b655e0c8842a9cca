"""The recipes of 2D and hybrid networks have the values of the authors' code, listed here in full.

Comments say what a source calls a value, or where it is open. The codes: tsn-pytorch, TRN-pytorch,
ECO-pytorch and ECO's scripts for Caffe, GST-video, cpnet, bLVNet-TAM.
"""

import importlib
import re

import pytest

from tanet.cli import main
from tanet.evaluation.protocols import find_protocol
from tanet.models.architectures import ARCHITECTURES
from tanet.recipes import RECIPES
from tanet.recipes.input_spec import spec_of
from tanet.recipes.network2d import Network2D
from tanet.recipes.networks3d import ResNet3D
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe
from tanet.training.schedule import lr_at
from tests.recipes.test_golden import recipe_values

# TSN's augmentation: scales [1, .875, .75, .66] and mirroring; the first policies have no factor of 5.
TSN = {
    "data.sampling": "uniform",
    "data.segments": "published",
    "data.flip": "plain",
    "optim.weight_decay": 5e-4,
    "optim.clip_norm": 20,
    "optim.linear_lr_boost": "none",
    "optim.lr": 0.001,
    "eval.average": "logits",
}
TSN_RGB = TSN | {
    "model.temporal": "none",
    "model.frames": 3,  # --num_segments
    "model.dropout": 0.8,
    "optim.epochs": 80,
    "optim.milestones": (30, 60),  # --lr_steps
    "optim.batch": 128,
    "optim.partial_norm": True,
    "eval.crops": 10,
    "eval.clip_frames": 25,  # --test_segments
}
TRN = TSN | {
    "model.backbone": "bn_inception",
    "model.temporal": "none",
    "model.dropout": 0.8,
    "optim.epochs": 120,
    "optim.milestones": (50, 100),
    "optim.batch": 64,  # README; the code's default is 128
    "optim.partial_norm": True,
    "eval.crops": 10,
}
ECO_ALL = TSN | {
    "model.frames": 16,
    "model.dropout": 0.3,
    "optim.batch": 34,  # 17 × iter_size 2; the number of GPUs is open
    "optim.nesterov": True,
}
GST = {
    "data.sampling": "uniform",
    "data.segments": "published",
    "data.flip": "published",
    "model.temporal": "gst",
    "model.frames": 8,
    "model.dropout": 0.3,
    "model.gst_share": 4,
    "optim.epochs": 70,
    "optim.lr": 0.01,
    "optim.milestones": (50, 60),
    "optim.batch": 24,
    "optim.weight_decay": 3e-4,
    "optim.clip_norm": 20,
    "optim.linear_lr_boost": "none",
}
BLVNET = {
    "model.depth": 50,
    "optim.epochs": 50,
    "optim.lr": 0.01,
    "optim.schedule": "cosine",
    "optim.milestones": (),
    "optim.batch": 64,
    "optim.weight_decay": 5e-4,
    "optim.nesterov": True,
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "optim.biases": "like-weights",
    "model.dropout": 0.5,
}
BLVNET_SOMETHING = BLVNET | {
    "data.sampling": "uniform",
    "data.segments": "shared",
    "data.flip": "none",
    "eval.resize": 224,
}
GRAPH = {
    "data.sampling": "dense",
    "data.window": 64,
    "data.flip": "none",  # open
    "model.frames": 32,
    "model.dropout": 0.3,
    "optim.batch": 8,
    "optim.clip_norm": 0,
    "optim.linear_lr_boost": "none",
    "optim.biases": "like-weights",
    "eval.crops": 3,
    "eval.size": 256,
    "eval.average": "softmax",
}
I3D = GRAPH | {
    "model.temporal_blocks": ("all", "even", "even", "odd"),
    "model.stem_kernel": 5,
    "model.stem_stride": 1,
    "model.pool1": "space",
    "model.pool2": "3x1x1",
    "model.res5_stride": 1,
    "model.head_window": 14,
    "optim.epochs": 100,
    "optim.lr": 0.00125,
    "optim.milestones": (90,),
}
GOLDEN = {
    "tsn-bn-inception": (Network2D, TSN_RGB | {"model.backbone": "bn_inception"}),
    "tsn-inception-v3": (
        Network2D,
        TSN_RGB
        | {"model.backbone": "inception_v3_cuhk", "data.resize": 341, "data.size": 299}
        | {"eval.resize": 341, "eval.size": 299},
    ),
    "trn": (Network2D, TRN | {"model.consensus": "trn", "model.frames": 3}),
    "trn-multiscale": (Network2D, TRN | {"model.consensus": "trn-multiscale", "model.frames": 8}),
    "eco-lite": (ECO, ECO_ALL | {"optim.epochs": 10, "optim.milestones": (4,), "optim.clip_norm": 30}),
    "eco-something-v1": (
        ECO,
        ECO_ALL
        | {"model.variant": "full", "data.flip": "none", "model.dropout_2d": 0.5}
        # 60,000 steps, step 25,000
        | {"optim.epochs": 24, "optim.milestones": (10,), "optim.clip_norm": 40},
    ),
    "gst-something": (Network2D, GST | {"model.gst_groups": 2}),
    "gst-large-something": (Network2D, GST | {"model.gst_groups": 1}),
    "cpnet-something-v2": (
        CPNet,
        {
            "data.sampling": "dense",
            "data.window": 24,  # 12 frames, frame_step 2
            "data.scales": (1.0, 0.9, 0.8, 0.71),  # for 50 to 100 % of the area
            "data.flip": "none",
            "model.depth": 34,
            "model.frames": 12,
            "model.neighbours": 8,
            "model.dropout": 0.5,
            "optim.epochs": 60,  # open
            "optim.lr": 0.01,
            "optim.milestones": (20, 40),
            "optim.batch": 32,
            "optim.weight_decay": 0,
            "optim.clip_norm": 0,
            "optim.linear_lr_boost": "none",
            "optim.biases": "like-weights",
            "eval.clips": 8,
            "eval.crops": 6,
            "eval.resize": 224,
            "eval.clip_frames": 24,
            "eval.average": "softmax",
        },
    ),
    "blvnet-tam-8x2": (BLVNet, BLVNET_SOMETHING | {"model.frames": 16}),
    "blvnet-tam-16x2": (BLVNet, BLVNET_SOMETHING | {"model.frames": 32}),
    "blvnet-tam-24x2": (
        BLVNet,
        BLVNET
        | {"data.sampling": "dense", "data.window": 96, "data.segments": "shared", "data.flip": "plain"}
        | {"model.frames": 48, "eval.clips": 3, "eval.crops": 3, "eval.size": 256},  # 9 views: which is open
    ),
    "i3d-something": (ResNet3D, I3D),
    "nl-i3d-something": (
        ResNet3D,
        I3D | {"model.non_local": ("res3.1", "res3.3", "res4.1", "res4.3", "res4.5")},
    ),
    "nl-i3d-gcn": (
        RegionGraphNet,
        GRAPH | {"optim.epochs": 30, "optim.lr": 0.000125, "optim.milestones": (), "model.features": 512},
    ),
}
PROTOCOLS = {
    "tsn-25x10": ("tsn-bn-inception",),
    "tsn-25x10-299": ("tsn-inception-v3",),
    "trn-1x10": ("trn", "trn-multiscale"),
    "sth-1x1": ("eco-lite", "eco-something-v1", "gst-something", "gst-large-something"),
    "cpnet-8x6": ("cpnet-something-v2",),
    "blvnet-1x1": ("blvnet-tam-8x2", "blvnet-tam-16x2"),
    "blvnet-3x3": ("blvnet-tam-24x2",),
    "graph-1x3": ("i3d-something", "nl-i3d-something", "nl-i3d-gcn"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_recipe_has_published_values_and_no_others(name):
    family, golden = GOLDEN[name]
    values, default = recipe_values(RECIPES[name]), recipe_values(Recipe(Data(), family(), Optim(), Eval()))
    assert type(RECIPES[name].model) is family
    assert {key: values[key] for key in golden} == golden
    rest = default.keys() - golden.keys()
    assert {key: values[key] for key in rest} == {key: default[key] for key in rest}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recipes_are_tested_with_their_protocol(protocol):
    for name in PROTOCOLS[protocol]:
        applied = find_protocol(protocol).apply(RECIPES[name])
        assert applied.eval == RECIPES[name].eval
        assert applied.data.sampling == RECIPES[name].data.sampling


def test_every_recipe_has_a_protocol():
    assert {name for names in PROTOCOLS.values() for name in names} == set(GOLDEN)


def test_normalisation_is_that_of_the_networks():
    tsn = {"tsn-bn-inception", "tsn-inception-v3", "trn", "trn-multiscale", "eco-lite", "eco-something-v1"}
    for name in GOLDEN:
        spec = spec_of(RECIPES[name])
        assert (spec.channels == "bgr") == (name in tsn)
        if name in tsn:
            assert (spec.mean, spec.std, spec.range) == ((104, 117, 128), (1, 1, 1), (0, 255))


def test_architectures_have_the_networks_of_the_recipes():
    pairs = {
        "trn-multiscale": "trn-multiscale-bn-inception",
        "gst-something": "gst-resnet50",
        "eco-lite": "eco-lite",
        "blvnet-tam-24x2": "blvnet-tam-50-24x2",
        "cpnet-something-v2": "cpnet-resnet34",
        "nl-i3d-gcn": "nl-i3d-gcn-r50",
    }
    for recipe, architecture in pairs.items():
        assert RECIPES[recipe].model == ARCHITECTURES[architecture].settings


def test_learning_rate_of_blvnet_is_half_a_cosine():
    optim = RECIPES["blvnet-tam-8x2"].optim
    assert [round(lr_at(epoch, optim), 6) for epoch in (0, 25, 50)] == [0.01, 0.005, 0.0]


@pytest.mark.parametrize("module", ["tsn", "trn", "eco", "gst", "cpnet", "blvnet", "region_graph"])
def test_commands_of_docstring_are_valid(module, capsys):
    told = importlib.import_module(f"tanet.recipes.{module}").__doc__ or ""
    commands = re.findall(r"^ +tanet (train|test) (\S+)", told, re.MULTILINE)
    assert commands
    for command, name in commands:
        if command == "train":
            assert main(["train", name, "--help"]) == 0
            assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    flags = re.findall(r"--((?:data|model|optim|eval)\.[a-z-]+)", told)
    known = {key for recipe in RECIPES.values() for key in recipe_values(recipe)}
    assert {flag.replace("-", "_") for flag in flags} <= known
