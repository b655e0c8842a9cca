"""A training of some layers leaves the others as they are, bit for bit, also resumed and in parts."""

import dataclasses
from functools import partial

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tanet import load, train
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.annotations import read_split
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.freeze import freeze
from tanet.recipes.network2d import Network2D
from tanet.runtime.distributed import SINGLE_PROCESS
from tanet.runtime.events import Note
from tanet.training.optimizer import make_optimizer
from tanet.training.plan import plan
from tanet.training.step import TrainStep
from tests.support import rank_processes
from tests.support.narrow_networks import NARROW, randomize_norms
from tests.support.thin_networks import thin_networks as thin_networks
from tests.support.tiny_videos import TINY, changed, make_folders
from tests.support.training_runs import Stop, same_result, stop_at
from tests.support.training_runs import progress_every_step as progress_every_step

SMALL = Network2D(backbone="resnet18_w16", frames=4)
MODELS = {
    "2d": SMALL,
    "resnet3d": NARROW["tam-slowonly"],
    "non-local": NARROW["nl-i3d"],
    "slowfast": NARROW["slowfast"],
    "x3d": NARROW["x3d"],
    "i3d": NARROW["i3d-inception"],
}
CASES = [(name, "from-res4") for name in MODELS] + [(name, "head") for name in MODELS if name != "i3d"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return str(make_folders(tmp_path_factory.mktemp("videos"), train=3, val=1))


def start_of(model, folder):
    """Write a checkpoint of a network with settled BatchNorms, and return the recipe that starts from it."""
    torch.manual_seed(1)
    network = randomize_norms(build(model, classes=3)).float()
    path = folder / "start.safetensors"
    checkpoint.save(path, Checkpoint(network, dataclasses.replace(TINY, model=model), ("a", "b", "c")))
    return dataclasses.replace(TINY, model=dataclasses.replace(model, init=str(path), dropout=0.5)), network


def recipe_of(recipe, videos, trained, **optim):
    data = {"root": videos, "sampling": "dense", "window": 9}
    return changed(recipe, data=data, optim={"batch": 2, "lr": 0.003, "trained": trained, **optim})


@pytest.mark.parametrize(("name", "trained"), CASES)
def test_frozen_layers_stay_bit_equal_and_others_move(name, trained, videos, tmp_path):
    recipe, start = start_of(MODELS[name], tmp_path)
    recipe = recipe_of(recipe, videos, trained, method="adamw", weight_decay=0.1)
    train(recipe, out=tmp_path / "run", device="cpu")
    before, after = start.state_dict(), load(tmp_path / "run" / "last.safetensors").network.state_dict()
    start.temporal_trained = True
    freeze(start, trained=trained)
    moves = {name for name, parameter in start.named_parameters() if parameter.requires_grad}
    norms = {name for name, module in start.named_modules() if isinstance(module, _BatchNorm)}
    moves |= {
        f"{norm}.{kind}"
        for norm in norms - set(start.frozen)
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert bool(moves - {"head.weight", "head.bias"}) == (trained != "head")
    for key, tensor in before.items():
        # The classifier is for other classes. Frames are so small that attention has one key, with weight 1.
        if not key.startswith("head.") and not key.endswith(("theta.bias", "phi.bias")):
            assert torch.equal(tensor, after[key]) == (key not in moves), key


def test_linear_probe_of_image_network_trains_new_tams(videos, tmp_path):
    image, notes = tmp_path / "image.pth", []
    torch.manual_seed(0)
    backbone = build(dataclasses.replace(SMALL, temporal="none"), classes=2).backbone
    torch.save(backbone.state_dict(), image)
    recipe = recipe_of(changed(TINY, model={"weights": str(image)}), videos, "head", weight_decay=0.0)
    train(recipe, out=tmp_path / "run", device="cpu", on_event=notes.append)
    after = load(tmp_path / "run" / "last.safetensors").network.backbone.state_dict()
    for key, tensor in backbone.state_dict().items():
        adapts = "layer" in key and (".bn" in key or "downsample.1" in key)  # each stage has new modules
        assert torch.equal(tensor, after[key]) != adapts, key
    assert not [note for note in notes if isinstance(note, Note)]  # the plan has said it
    planned = plan(recipe, read_split(recipe.data))
    assert "the classifier, new temporal modules, and the BatchNorms" in planned.trained
    assert planned.statistics


def test_plain_3d_network_with_new_tams_is_announced(videos, tmp_path):
    recipe, _ = start_of(NARROW["slowonly"], tmp_path)
    recipe, notes = recipe_of(changed(recipe, model={"temporal": "tam"}), videos, "head"), []
    train(recipe, out=tmp_path / "run", device="cpu", on_event=notes.append)
    assert any(
        "the classifier, new temporal modules" in str(note) for note in notes if isinstance(note, Note)
    )


@pytest.mark.parametrize("trained", ["head", "from-res5"])
def test_resumed_run_gives_same_result(trained, videos, tmp_path, progress_every_step):
    recipe, _ = start_of(SMALL, tmp_path)
    recipe, whole, halted = recipe_of(recipe, videos, trained), tmp_path / "whole", tmp_path / "halted"
    train(recipe, out=whole, device="cpu")
    with pytest.raises(Stop):
        train(recipe, out=halted, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    with pytest.raises(
        UserError, match=rf"different training run: optim\.trained was '{trained}', now 'all'$"
    ):
        train(changed(recipe, optim={"trained": "all"}), out=halted, device="cpu", resume=True)
    train(recipe, out=halted, device="cpu", resume=True)
    assert same_result(halted, whole)


def step_of(trained, *, model=SMALL, accumulate=1, compile=False):
    """Make one step of SGD, and return the network."""
    torch.manual_seed(0)
    network = build(dataclasses.replace(model, dropout=0.0), classes=2).train()
    network.temporal_trained = True
    freeze(network, trained=trained)
    optim = dataclasses.replace(TINY.optim, accumulate=accumulate)
    step = TrainStep(
        network,
        optimizer=make_optimizer(network, optim),
        optim=optim,
        group=SINGLE_PROCESS,
        compile=compile,
    )
    step(torch.randn(4, 4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
    return network.state_dict()


def test_gradients_of_parts_are_summed_over_trained_parameters():
    whole, parts = (step_of("head", accumulate=count) for count in (1, 2))
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_compiled_step_equals_eager_step(thin_networks, monkeypatch):
    """Train res5 and the classifier, so that frozen and trained layers are in one graph."""
    # Tracing shows which gradients the graph computes; generating code for it would take a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.compiler.reset()
    thin = dataclasses.replace(SMALL, backbone="thin_basic")
    eager, compiled = (step_of("from-res5", model=thin, compile=compile) for compile in (False, True))
    for key in eager:
        torch.testing.assert_close(eager[key], compiled[key], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_ranks_learn_same_classifier_as_one(videos, tmp_path):
    recipe, _ = start_of(SMALL, tmp_path)
    recipe = changed(recipe_of(recipe, videos, "head"), model={"dropout": 0.0})
    for world_size in (1, 2):
        ranks = rank_processes.start(recipe, tmp_path / str(world_size) / "run", world_size=world_size)
        for rank in ranks:
            rank.join()
        assert [rank.exitcode for rank in ranks] == [0] * world_size
    one, two = (load(tmp_path / str(n) / "run").network.state_dict() for n in (1, 2))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


def test_optimizer_has_no_frozen_parameters():
    network = build(SMALL, classes=2)
    network.temporal_trained = True
    freeze(network, trained="head")
    for method in ("sgd", "adamw"):
        optimizer = make_optimizer(network, dataclasses.replace(TINY.optim, method=method))
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        assert {id(parameter) for parameter in held} == {id(p) for p in network.head.parameters()}
        assert all(id(p) in {id(q) for q in held} for p in optimizer.state)


def test_plan_tells_what_is_trained(videos):
    split = read_split(changed(TINY, data={"root": videos}).data)
    probe = changed(TINY, model={"init": "start.safetensors"}, optim={"trained": "head"})
    found = plan(probe, split)
    assert "trains 258 of 746,690 parameters: the classifier" in found.lines
    assert not found.statistics
    assert not any("random weights" in warning for warning in found.warnings)
    whole = plan(changed(probe, optim={"trained": "all"}), split)
    assert whole.statistics
    assert not whole.trained
    later = plan(changed(probe, optim={"trained": "from-res5"}), split)
    assert "res5 and the layers after it" in later.trained
    assert found.memory < later.memory < whole.memory
    assert later.statistics


def test_linear_probe_without_weights_is_warned_of(videos):
    split = read_split(changed(TINY, data={"root": videos}).data)
    warnings = plan(changed(TINY, optim={"trained": "head"}), split).warnings
    freezes = "optim.trained head freezes layers with random weights; "
    assert f"{freezes}give the weights of a trained network with --init" in warnings


def test_unknown_stage_ends_before_a_file_is_written(videos, tmp_path):
    recipe = recipe_of(changed(TINY, model={"backbone": "shufflenet_v2_x1_0"}), videos, "from-res2")
    with pytest.raises(UserError, match="this network has no res2: choose all, from-res3"):
        train(recipe, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "recipe.json").exists()
