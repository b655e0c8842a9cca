"""Models given by name to `predict`: the default, files, ensembles; loaded once, and again if they change."""

import os

import pytest

import tanet
from tanet.checkpoints import checkpoint as checkpoints
from tanet.errors import UserError
from tanet.inference import models
from tests.support.cached_weights import narrow_model, put_into_cache
from tests.support.tiny_videos import make


@pytest.fixture
def video(tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # answers of a GPU differ by rounding
    return make(tmp_path / "x.mp4")


@pytest.fixture
def loads(monkeypatch):
    """List of the files that are loaded from now on."""
    found, load = [], checkpoints.load
    models._load_file.cache_clear()
    monkeypatch.setattr(checkpoints, "load", lambda path, **args: found.append(path) or load(path, **args))
    return found


def test_default_model_is_loaded_once(video, loads):
    put_into_cache(models.DEFAULT_MODEL, model := narrow_model("a", "b", "c"))
    assert tanet.predict(video).top5 == tanet.predict(video, model).top5
    assert tanet.predict(str(video), device="cpu").label == tanet.predict(video, model).label
    assert [answer.label for answer in tanet.predict_all([video])] == [tanet.predict(video, model).label]
    assert len(loads) == 1
    assert tanet.load(models.DEFAULT_MODEL).classes == ("a", "b", "c")


def test_name_and_path_are_models(video, loads, tmp_path):
    put_into_cache("tsm-r50-k400", one := narrow_model("a", "b", seed=1))
    checkpoints.save(tmp_path / "best.safetensors", two := narrow_model("a", "b", seed=2))
    assert tanet.predict(video, one).score != tanet.predict(video, two).score
    assert tanet.predict(video, "tsm-r50-k400").top5 == tanet.predict(video, one).top5
    for path in (tmp_path, tmp_path / "best.safetensors", str(tmp_path / "best.safetensors")):
        assert tanet.predict(video, path).top5 == tanet.predict(video, two).top5
    assert len(loads) == 2


def test_changed_file_is_loaded_again(video, tmp_path):
    path = tmp_path / "best.safetensors"
    for seed in (1, 2):
        checkpoints.save(path, model := narrow_model("a", "b", seed=seed))
        os.utime(path, ns=(seed, seed))
        assert tanet.predict(video, path).top5 == tanet.predict(video, model).top5


def test_ensemble_averages_probabilities_of_models_with_different_views(video):
    small = narrow_model("a", "b", seed=1)
    recipe = tanet.Recipe(
        data=small.recipe.data, model=small.recipe.model, eval=tanet.recipes.recipe.Eval(3, 1, 40, 40)
    )
    large = narrow_model("a", "b", seed=2, recipe=recipe)
    first, second = (dict(tanet.predict(video, model).top5) for model in (small, large))
    mean = dict(tanet.predict(video, [small, large]).top5)
    assert mean["a"] == pytest.approx((first["a"] + second["a"]) / 2)
    assert sum(mean.values()) == pytest.approx(1)
    [weighted] = tanet.predict_all([video], [small, large], weights=[1, 3])
    assert isinstance(weighted, tanet.Prediction)
    assert dict(weighted.top5)["a"] == pytest.approx((first["a"] + 3 * second["a"]) / 4)
    assert dict(tanet.predict(video, [small, small]).top5) == pytest.approx(first)


def test_wrong_models_give_one_line(video):
    one, other = narrow_model("a", "b"), narrow_model("a", "c")
    for wrong, message in (
        ([one, other], "have different classes: 2 and 2, and 'b' is in only one of them"),
        ([], "expected a checkpoint or its name, not an empty list"),
        (7, "expected a checkpoint or its name, not int"),
        ([one, 7], "expected a checkpoint or its name, not int"),
        ("i3d-k40", "did you mean i3d-k400"),
    ):
        with pytest.raises(UserError, match=message) as error:
            tanet.predict(video, wrong)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="device is for models given by name"):
        tanet.predict(video, one, device="cpu")


def test_answers_do_not_depend_on_other_videos(tmp_path):
    model = narrow_model("a", "b", "c")
    videos = [make(tmp_path / f"{seed}.mp4", seed=seed) for seed in range(5)]
    alone = [tanet.predict(video, model) for video in videos]
    assert list(tanet.predict_all(videos, model, workers=3)) == alone  # bit for bit
