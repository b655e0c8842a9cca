"""3D and two-pathway networks train, resume and start from checkpoints like 2D networks."""

import dataclasses
import json

import pytest
import torch

from tanet import load, predict, train
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.initialize import load_initial_weights
from tanet.data.annotations import read_split
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.recipes.networks3d import InceptionI3D, SlowFast
from tanet.recipes.recipe import Recipe
from tanet.training import training_state as states
from tanet.training.norm_statistics import videos_for_statistics
from tanet.training.plan import plan
from tanet.training.plan_cost import smaller_setting
from tanet.training.setup import convert_sync_batch_norms
from tests.support import rank_processes
from tests.support.narrow_networks import RESNET3D, SLOWFAST
from tests.support.tiny_videos import TINY, changed, make_folders
from tests.support.training_runs import Stop, same_result, stop_at
from tests.support.training_runs import progress_every_step as progress_every_step

TAM_SLOWFAST = dataclasses.replace(SLOWFAST, temporal="tam", width=32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return str(make_folders(tmp_path_factory.mktemp("videos"), train=3, val=1))


def recipe_of(model, videos):
    """Return a recipe of one epoch of three steps of two clips."""
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(model, dropout=0.5))
    data = {"root": videos, "sampling": "dense", "window": 8}
    return changed(recipe, data=data, optim={"batch": 2, "lr": 0.003, "norm_statistics": "running"})


@pytest.mark.parametrize("model", [RESNET3D, TAM_SLOWFAST], ids=["one pathway", "two pathways"])
def test_resume_gives_same_result(model, videos, tmp_path, progress_every_step):
    recipe, whole, halted = recipe_of(model, videos), tmp_path / "whole", tmp_path / "halted"
    recipe = changed(recipe, optim={"norm_statistics": "auto"})
    train(recipe, out=whole, device="cpu")
    with pytest.raises(Stop):
        train(recipe, out=halted, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    train(recipe, out=halted, device="cpu", resume=True)
    assert same_result(halted, whole)
    trained = load(whole)  # a training's folder means its best checkpoint
    assert trained.recipe == recipe
    assert trained.network.input_spec.mean == (0.45,) * 3
    answer = predict(read_split(recipe.data).val[0].path, trained)
    assert 0 < answer.score < 1


def test_run_of_other_network_is_not_resumed(videos, tmp_path, progress_every_step):
    recipe = recipe_of(RESNET3D, videos)
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    other = recipe_of(dataclasses.replace(RESNET3D, head_window=3), videos)
    with pytest.raises(UserError, match=r"different training run: model\.head_window was 7, now 3$"):
        train(other, out=tmp_path, device="cpu", resume=True)
    two = recipe_of(SLOWFAST, videos)
    with pytest.raises(UserError, match=r"run: model\.family was 'resnet3d', now 'slowfast'$"):
        train(two, out=tmp_path, device="cpu", resume=True)


def test_new_tams_learn_faster_also_after_resume(videos, tmp_path, progress_every_step):
    plain = dataclasses.replace(TAM_SLOWFAST, temporal="conv")
    start = tmp_path / "plain.safetensors"
    recipe = dataclasses.replace(TINY, model=plain)
    checkpoint.save(start, Checkpoint(build(plain, classes=2), recipe, ("a", "b")))
    fresh = {}
    for name, init in (("new", start), ("trained", tmp_path / "new" / "last.safetensors")):
        recipe = recipe_of(dataclasses.replace(TAM_SLOWFAST, init=str(init)), videos)
        recipe = changed(recipe, optim={"new_layer_lr_scale": 10.0})
        with pytest.raises(Stop):
            train(recipe, out=tmp_path / name, device="cpu", save_minutes=0, on_event=stop_at(1, 1))
        state = states.load(states.list_states(tmp_path / name)[-1])
        groups = [group for group in state.optimizer["param_groups"] if group["name"].startswith("fresh")]
        fresh[name] = sum(len(group["params"]) for group in groups)
        init.rename(tmp_path / "gone")  # a resumed run does not read the file
        train(recipe, out=tmp_path / name, device="cpu", resume=True)
        (tmp_path / "gone").rename(init)
    tams = sum(".temporal." in name for name, _ in build(TAM_SLOWFAST, classes=2).named_parameters())
    assert fresh == {"new": tams + 2, "trained": 2}  # 2: weight and bias of the classifier


def test_state_without_note_on_tams_follows_init(videos, tmp_path, progress_every_step):
    recipe = recipe_of(TAM_SLOWFAST, videos)
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 1))
    newest = states.list_states(tmp_path)[-1]
    state = dataclasses.replace(states.load(newest), temporal_trained=None)  # as tanet 0.1.0 wrote it
    states.save(tmp_path, state, total=int(newest.stem.removeprefix("state-")))
    train(recipe, out=tmp_path, device="cpu", resume=True)
    assert json.loads((tmp_path / "recipe.json").read_text())["model"]["family"] == "slowfast"


@pytest.mark.parametrize("model", [RESNET3D, TAM_SLOWFAST], ids=["one pathway", "two pathways"])
def test_sync_norms_replace_all_norms(model):
    network = build(model, classes=2).eval()
    clips = torch.randn(1, model.frames, 3, 32, 32)
    before = network(clips)
    convert_sync_batch_norms(network)
    kinds = {type(module).__name__ for module in network.modules() if "BatchNorm" in type(module).__name__}
    assert kinds == {"SyncBatchNorm"}
    assert torch.equal(network(clips), before)


@pytest.mark.long
def test_two_ranks_learn_same_weights_as_one(videos, tmp_path):
    recipe = changed(recipe_of(TAM_SLOWFAST, videos), model={"dropout": 0.0})
    for world_size in (1, 2):
        out = tmp_path / str(world_size) / "run"
        ranks = rank_processes.start(recipe, out, world_size=world_size, norm=False)
        for rank in ranks:
            rank.join()
        assert [rank.exitcode for rank in ranks] == [0] * world_size
    one, two = (load(tmp_path / str(n) / "run").network.state_dict() for n in (1, 2))
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-6) for name in one)


def test_network_without_non_local_blocks_starts_one_with_them(tmp_path):
    start = tmp_path / "plain.safetensors"
    plain = build(SLOWFAST, classes=2).eval()
    recipe = dataclasses.replace(TINY, model=SLOWFAST)
    checkpoint.save(start, Checkpoint(plain, recipe, ("a", "b")))
    model = dataclasses.replace(SLOWFAST, non_local=("res4.0",))
    network = build(model, classes=2).eval()
    notes = load_initial_weights(network, start, model=model, classes=("a", "b"))
    assert any("non-local blocks, which are new and change nothing at first" in note for note in notes)
    clips = torch.randn(1, SLOWFAST.frames, 3, 32, 32)
    assert torch.equal(network(clips), plain(clips))
    # The other way round, weights would be lost.
    checkpoint.save(start, Checkpoint(network, dataclasses.replace(TINY, model=model), ("a", "b")))
    with pytest.raises(UserError, match="do not fit this network"):
        load_initial_weights(plain, start, model=SLOWFAST, classes=("a", "b"))


def split_of(count):
    samples = tuple(Sample(f"{i}.mp4", i % 2) for i in range(count))
    return Split(samples, samples[:10], ("jump", "run"))


def test_plan_describes_network_without_weights():
    recipe = dataclasses.replace(TINY, model=SLOWFAST)
    few = plan(recipe, split_of(1_000))
    assert (
        "this network learns little from 1000 videos alone; give a checkpoint with --init" in few.warnings[0]
    )
    assert few.memory > 4 * 2 * sum(p.numel() for p in build(SLOWFAST, classes=2).parameters())
    assert not any("no weights" in warning for warning in plan(recipe, split_of(100_000)).warnings)
    inflated = dataclasses.replace(TINY, model=dataclasses.replace(RESNET3D, weights="r50.pth"))
    assert plan(inflated, split_of(10)).start == (
        "starts from the image network r50.pth, inflated to three dimensions"
    )


def test_changed_family_is_one_change():
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(SLOWFAST, init="x.safetensors"))
    changed_fields = plan(recipe, split_of(10), reference=TINY).changed
    assert (
        changed_fields[0]
        == "model SlowFast-14 2+8, 3×1×1 convolutions (resnet18_w16 with temporal module tam)"
    )
    assert [line.split()[0] for line in changed_fields[1:]] == ["model.frames", "model.dropout"]


def test_smaller_setting_keeps_frames_of_3d_network():
    recipe = Recipe(model=SlowFast())
    assert smaller_setting(recipe, classes=2) == (
        "--data.size 112 --eval.resize 128 --eval.size 128: about a quarter"
    )
    jittered = changed(recipe, data={"short_sides": (256, 320)})
    assert "--eval.size 128 --data.short-sides 128 160: " in smaller_setting(jittered, classes=2)


def test_slow_norms_count_as_short_training_for_longer():
    longer = changed(TINY, optim={"epochs": 1000, "batch": 2})  # 5,000 steps
    assert not videos_for_statistics(longer, split_of(10))
    slow = dataclasses.replace(longer, model=InceptionI3D())
    assert videos_for_statistics(slow, split_of(10))
