"""The plan computes steps and memory of a training, and warns about settings that do not fit together."""

import dataclasses

import pytest

from tanet.data.samples import Sample, Split
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Network2D, Optim, Recipe
from tanet.training.plan import plan
from tanet.training.plan_cost import smaller_setting
from tests.support.tiny_videos import changed

TINY = Recipe(
    data=dataclasses.replace(Recipe().data, size=32),
    eval=dataclasses.replace(Recipe().eval, resize=36, size=36),
    model=Network2D(backbone="resnet18_w16", frames=4),
    optim=Optim(epochs=10, lr=0.01, milestones=(5, 8), batch=16),
)


def videos(train=100, val=20, classes=("jump", "run")):
    samples = tuple(Sample(f"{i}.mp4", i % len(classes)) for i in range(train + val))
    return Split(samples[:train], samples[train:], classes)


def join_warnings(recipe, split=None, **rest):
    return " | ".join(plan(recipe, split or videos(), **rest).warnings)


def test_epoch_has_whole_batches_only():
    found = plan(TINY, videos(train=100, val=20), world_size=2)
    assert (found.train, found.val, found.classes, found.batch) == (100, 20, 2, 16)
    assert (found.steps, found.epochs) == (6, 10)  # 100 // 16
    assert "10 epochs × 6 steps = 60 steps of 16 clips, 8 on each of 2 devices" in found.lines
    assert plan(TINY, videos(train=5)).steps == 1
    one = changed(TINY, optim={"epochs": 1})
    assert "1 epoch × 1 step = 1 step of 5 clips" in plan(one, videos(train=5)).lines
    assert plan(TINY, videos(train=5)).batch == 5


def test_schedule_is_described_in_steps():
    assert "learning rate 0.01, × 0.1 after 30, 48 steps" in plan(TINY, videos()).lines
    cosine = changed(TINY, optim={"schedule": "cosine", "warmup": 1.5})
    assert (
        "learning rate 0.01 after 9 warm-up steps, decaying to 0 along a half cosine"
        in plan(cosine, videos()).lines
    )


def test_full_cosine_is_described_with_the_highest_learning_rate():
    optim = {"lr": 0.1, "schedule": "full-cosine", "warmup": 5, "warmup_lr": 0.02}
    assert (  # (1 + cos(5π/10)) / 2 of 0.1
        "learning rate 0.05 after 30 warm-up steps from 0.02, decaying to 0 along a half cosine"
        in plan(changed(TINY, optim=optim), videos()).lines
    )


def test_short_sides_are_compared_with_test_views():
    jittered = changed(TINY, data={"short_sides": (36, 45)}, eval={"resize": 36, "size": 36})
    assert "tested on videos" not in join_warnings(jittered)
    small = changed(jittered, data={"short_sides": (40, 45)})
    assert "as if it were 40 to 45 (--eval.resize, --data.short-sides)" in join_warnings(small)


def test_max_steps_shortens_plan_without_counting_as_change():
    recipe = changed(TINY, optim={"max_steps": 30})  # of 10 epochs × 6 steps
    found = plan(recipe, videos(), reference=recipe)
    assert (found.epochs, found.steps, found.changed, found.warnings) == (5, 6, (), ())
    assert "learning rate 0.01, × 0.1 after 12, 24 steps" in found.lines


@pytest.mark.parametrize("name", RECIPES)
def test_unchanged_recipe_has_no_warnings(name, monkeypatch):
    monkeypatch.setattr("tanet.training.plan.training_memory", lambda *_, **__: 0)  # its estimate takes long
    ready = changed(RECIPES[name], model={"weights": "image_net.pth"})
    found = plan(ready, videos(train=1000), reference=RECIPES[name])
    assert not found.warnings
    assert not found.changed


@pytest.mark.parametrize(
    ("sections", "warning"),
    [
        (
            {"optim": {"batch": 8}},
            "batch 8 instead of 16: in proportion the learning rate would be 0.005, not 0.01",
        ),
        (
            {"optim": {"method": "adamw"}},
            "adamw uses the learning rate 0.01 and the weight decay 0.0001 chosen for sgd",
        ),
        ({"optim": {"method": "adamw", "lr": 1e-3}}, "adamw uses the weight decay 0.0001 chosen for sgd"),
        (
            {"data": {"scales": (1.0, 0.875)}, "eval": {"resize": 38}},
            "videos with a short side of 38 pixels, but training shows them as if it were 32 to 37 ",
        ),
        ({"optim": {"epochs": 7}}, "optim.epochs 7 instead of 10"),
        ({"optim": {"epochs": 7}}, "milestones never reached: epoch 8; the training has 7"),
        ({"model": {"frames": 8}}, "8 frames per clip instead of 4"),
        (
            {"data": {"size": 64}},
            "as if it were 64 to 97 (--eval.resize 72 would keep the recipe's proportion)",
        ),
        ({"model": {"backbone": "resnet18"}}, "no weights to start from: resnet18"),
    ],
)
def test_inconsistent_change_gives_warning(sections, warning):
    assert warning not in join_warnings(TINY, reference=TINY)
    assert warning in join_warnings(changed(TINY, **sections), reference=TINY)


def test_consistent_changes_give_no_warning():
    for optim in ({"batch": 32, "lr": 0.02}, {"batch": 32, "lr_batch": 16}):
        found = plan(changed(TINY, optim=optim), videos(), reference=TINY)
        assert not found.warnings
        assert any(line.startswith("learning rate 0.02,") for line in found.lines)
    longer = changed(TINY, optim={"epochs": 20, "milestones": (10, 16)})
    assert not plan(longer, videos(), reference=TINY).warnings


def test_new_method_with_inherited_new_layer_lr_scale_gives_warning():
    fresh = changed(TINY, optim={"method": "adamw", "lr": 2e-4, "new_layer_lr_scale": 10.0})
    sgd = changed(fresh, optim={"method": "sgd", "lr": 0.01, "weight_decay": 1e-3})
    assert "sgd uses the new_layer_lr_scale 10 chosen for adamw" in join_warnings(sgd, reference=fresh)
    assert not join_warnings(changed(sgd, optim={"new_layer_lr_scale": 5.0}), reference=fresh)


def test_center_tap_bias_is_no_change_when_starting_from_checkpoint():
    near = changed(TINY, model={"center_tap_bias": 6.0})
    assert plan(near, videos(), reference=TINY).changed == ("model.center_tap_bias 6 (0)",)
    trained = changed(near, model={"init": "start.safetensors"})
    assert plan(trained, videos(), reference=TINY).changed == ()


def test_evaluation_crop_may_be_larger_than_training_crop():
    for eval in ({"size": 32}, {"resize": 48, "size": 48}, {"resize": 32, "size": 32}):
        assert not plan(changed(TINY, eval=eval), videos(), reference=TINY).warnings


def test_changes_are_listed_except_paths_and_machine_settings():
    recipe = changed(
        TINY,
        data={"root": "videos", "workers": 9},
        model={"init": "start.safetensors"},
        optim={"lr": 0.02, "milestones": (4,)},
    )
    found = plan(recipe, videos(), reference=TINY)
    assert found.changed == ("optim.lr 0.02 (0.01)", "optim.milestones 4 (5/8)")
    assert "changed from the recipe: optim.lr 0.02 (0.01), optim.milestones 4 (5/8)" in found.lines
    assert "starts from the checkpoint start.safetensors" in found.lines


def test_videos_that_do_not_fit_recipe_give_warning():
    assert "no validation videos" in join_warnings(TINY, videos(val=0))
    assert "batch of 16 is larger than the 5 training videos" in join_warnings(TINY, videos(train=5))
    sided = videos(classes=("turn_left", "turn_right", "jump"))
    assert "which is wrong for turn_left, turn_right;" in join_warnings(TINY, sided)
    assert "which is wrong" not in join_warnings(changed(TINY, data={"flip": "mirror"}), sided)
    assert "which is wrong" not in join_warnings(changed(TINY, data={"flip": "none"}), sided)
    assert "which is wrong" not in join_warnings(TINY, videos(classes=("0", "1")))


def test_too_little_memory_gives_warning(monkeypatch):
    need = plan(TINY, videos()).memory
    monkeypatch.setattr("tanet.training.plan._memory_of", lambda device: need)
    assert "training may need" not in join_warnings(TINY)
    monkeypatch.setattr("tanet.training.plan._memory_of", lambda device: need - 1)
    assert "training may need" in join_warnings(TINY)


def test_accumulation_reduces_memory_estimate():
    whole, parts = plan(TINY, videos()), plan(changed(TINY, optim={"accumulate": 4}), videos(), world_size=2)
    clip = plan(changed(TINY, optim={"batch": 2}), videos()).memory
    assert parts.memory == clip < whole.memory  # 16 clips on 2 devices in 4 parts


def test_unknown_backbone_is_rejected():
    with pytest.raises(ValueError, match="unknown backbone 'vgg'"):
        plan(changed(TINY, model={"backbone": "vgg"}), videos())


def test_plan_of_finetune_on_cpu_names_recipe_for_cpu():
    recipe = RECIPES["finetune"]
    told = [line for line in plan(recipe, videos(), reference=recipe).lines if "finetune-cpu" in line]
    # 20 instead of 150 epochs of MobileNetV2 at 112² instead of ResNet-50 at 224²
    assert told == ["on a CPU, the recipe finetune-cpu takes about 1/350 of the multiply-adds"]
    small = changed(recipe, model={"backbone": "resnet18_w16", "frames": 4}, data={"size": 32})
    for other, reference in ((RECIPES["arrow6"], RECIPES["arrow6"]), (recipe, None), (small, recipe)):
        assert "finetune-cpu" not in " ".join(plan(other, videos(), reference=reference).lines)


def test_smaller_setting_counts_multiply_adds():
    recipe = RECIPES["finetune"]
    flags = "--model.frames 4 --data.size 112 --eval.resize 128 --eval.size 128"
    assert smaller_setting(recipe, classes=2) == f"{flags}: about 1/8"
    # A checkpoint fits only its own number of frames.
    from_checkpoint = changed(recipe, model={"init": "best.safetensors"})
    assert smaller_setting(from_checkpoint, classes=2) == f"{flags[17:]}: about a quarter"
    assert smaller_setting(changed(recipe, model={"frames": 4}, data={"size": 112}), classes=2) == ""


def test_validated_epochs_include_the_last():
    recipe = changed(TINY, eval={"every": 4})
    assert plan(recipe, videos()).validated == (4, 8, 10)
    assert plan(recipe, videos(val=0)).validated == ()
