"""An ensemble averages the scores of several models, which must have the same videos and classes."""

import dataclasses

import pytest
import torch

from tanet.data.samples import Sample
from tanet.evaluation import ensemble, evaluate, score_files
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import ScoredModel, Scores
from tanet.models.factory import build
from tanet.video import VideoError
from tests.evaluation.test_score_files import make_scores
from tests.support.tiny_videos import TINY, make


def replace_in_report(part, **values):
    return dataclasses.replace(part, report=dataclasses.replace(part.report, **values))


def test_ensemble_of_8_and_16_frames_is_mean_of_scores(tmp_path):
    samples = [Sample(str(make(tmp_path / f"{i}.mp4", seed=i, frames=30)), i % 2) for i in range(3)]
    parts = []
    for frames in (8, 16):
        recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, frames=frames))
        torch.manual_seed(frames)
        network = build(recipe.model, classes=2)
        torch.nn.init.normal_(network.head.weight)
        report = evaluate.evaluate(network, samples, classes=("a", "b"), recipe=recipe)
        parts.append(
            Scores(f"{frames}f", report, str(tmp_path), (ScoredModel(f"{frames}f", "", recipe, {}),))
        )
        score_files.save(tmp_path / f"{frames}.scores", parts[-1])
    together = ensemble.average_models(parts)
    saved = [score_files.load(tmp_path / f"{frames}.scores") for frames in (8, 16)]
    mean = (saved[0].report.scores + saved[1].report.scores) / 2
    assert torch.equal(together.report.scores, mean)
    assert torch.equal(ensemble.average_models(saved).report.scores, mean)  # from the saved scores alone
    assert not torch.allclose(saved[0].report.scores, saved[1].report.scores, atol=1e-3)
    assert [source.recipe.model.frames for source in together.sources] == [8, 16]
    assert torch.allclose(together.report.scores.sum(1), torch.ones(3))


def test_weights_apply_to_models_and_to_nested_ensembles():
    a, b, c = (make_scores(frames=frames, checkpoint=str(frames)) for frames in (4, 8, 16))
    one = ensemble.average_models([ensemble.average_models([a, b]), c], weights=[2, 1])
    three = ensemble.average_models([a, b, c], weights=[5, 5, 5])
    assert torch.allclose(one.report.scores, three.report.scores)
    assert [source.weight for source in one.sources] == pytest.approx([1 / 3] * 3)
    uneven = ensemble.average_models([a, b], weights=[3, 1]).report.scores
    assert torch.allclose(uneven, 0.75 * a.report.scores + 0.25 * b.report.scores)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2, 3], "3 weights for 2 models"),
        ([1, 0], "a weight must be positive, not 0"),
        ([1, float("nan")], "not nan"),
        ([-1, 2], "not -1"),
    ],
)
def test_invalid_weights_are_rejected(weights, message):
    with pytest.raises(ValueError, match=message):
        ensemble.average_models([make_scores(), make_scores()], weights=weights)


def test_videos_match_across_roots_and_orders():
    a, b = make_scores("/data/k400"), make_scores("videos", frames=8)
    order = [2, 0, 1]
    moved = replace_in_report(
        b, samples=tuple(b.report.samples[i] for i in order), scores=b.report.scores[order]
    )
    mean = (a.report.scores + b.report.scores) / 2
    together = ensemble.average_models([a, moved])
    assert torch.equal(together.report.scores, mean)
    assert together.report.samples == a.report.samples


def test_video_unreadable_for_one_model_is_left_out():
    a, b = make_scores("/data"), make_scores("videos", frames=8)
    broken = {**b.report.bad, "videos/val/y.mp4": VideoError("videos/val/y.mp4", "cut short")}
    b = replace_in_report(b, samples=b.report.samples[::2], scores=b.report.scores[::2], bad=broken)
    for first, second in ((a, b), (b, a)):
        together = ensemble.average_models([first, second])
        assert together.names == ["val/ä.mp4", "val/z.mp4"]
        assert sorted(together.unreadable) == ["val/bad.mp4", "val/y.mp4"]
        mean = (a.report.scores[::2] + b.report.scores) / 2
        assert torch.allclose(together.report.scores, mean)


def test_different_videos_labels_or_classes_are_rejected():
    a, b = make_scores(), make_scores(frames=8, checkpoint="runs/b.safetensors")
    names = r"runs/b.safetensors and runs/a.safetensors"
    fewer = replace_in_report(b, samples=b.report.samples[:2], scores=b.report.scores[:2])
    with pytest.raises(ValueError, match=rf"{names} were not tested on the same .* val/z.mp4"):
        ensemble.average_models([a, fewer])
    other = replace_in_report(b, samples=(*b.report.samples[:2], Sample("videos/val/z.mp4", 0)))
    with pytest.raises(ValueError, match=r"or have different labels, for example val/z.mp4"):
        ensemble.average_models([a, other])
    with pytest.raises(ValueError, match=rf"{names} have different classes: 2 and 2, and 'left' is in"):
        ensemble.average_models([a, replace_in_report(b, classes=("up", "right"))])
    with pytest.raises(ValueError, match="different classes: the same classes, but in another"):
        ensemble.average_models([a, replace_in_report(b, classes=("right", "left"))])
    nothing = Report(
        (),
        ("left", "right"),
        torch.zeros(0, 2),
        {p: VideoError(p, "x") for p in [sample.path for sample in b.report.samples]},
    )
    with pytest.raises(ValueError, match=r"no video could be read by all models: runs/a.safetensors, runs/b"):
        ensemble.average_models([a, dataclasses.replace(b, report=nothing)])
