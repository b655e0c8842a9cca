"""Several models as one: the mean of their scores, on the same videos and classes or not at all."""

import dataclasses

import pytest
import torch

from tanet.data.samples import Sample
from tanet.evaluation import ensemble, evaluate, score_files
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import ScoredModel, Scores
from tanet.models.factory import build
from tanet.video import VideoError
from tests.evaluation.test_score_files import some_scores
from tests.support.tiny_videos import TINY, make


def change(part, **values):
    return dataclasses.replace(part, report=dataclasses.replace(part.report, **values))


def test_models_of_8_and_16_frames_are_the_mean_of_their_saved_scores(tmp_path):
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
    assert torch.equal(ensemble.average_models(saved).report.scores, mean)  # without the networks
    assert not torch.allclose(saved[0].report.scores, saved[1].report.scores, atol=1e-3)
    assert [source.recipe.model.frames for source in together.sources] == [8, 16]
    assert torch.allclose(together.report.scores.sum(1), torch.ones(3))


def test_weights_and_a_mean_of_means():
    a, b, c = (some_scores(frames=frames, checkpoint=str(frames)) for frames in (4, 8, 16))
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
def test_weights_that_do_not_fit(weights, message):
    with pytest.raises(ValueError, match=message):
        ensemble.average_models([some_scores(), some_scores()], weights=weights)


def test_another_machine_and_another_order_are_the_same_videos():
    a, b = some_scores("/data/k400"), some_scores("videos", frames=8)
    order = [2, 0, 1]
    moved = change(b, samples=tuple(b.report.samples[i] for i in order), scores=b.report.scores[order])
    mean = (a.report.scores + b.report.scores) / 2
    together = ensemble.average_models([a, moved])
    assert torch.equal(together.report.scores, mean)
    assert together.report.samples == a.report.samples


def test_what_one_could_not_read_is_left_out_of_all():
    a, b = some_scores("/data"), some_scores("videos", frames=8)
    broken = {**b.report.bad, "videos/val/y.mp4": VideoError("videos/val/y.mp4", "cut short")}
    b = change(b, samples=b.report.samples[::2], scores=b.report.scores[::2], bad=broken)
    for first, second in ((a, b), (b, a)):
        together = ensemble.average_models([first, second])
        assert together.names == ["val/ä.mp4", "val/z.mp4"]
        assert sorted(together.unreadable) == ["val/bad.mp4", "val/y.mp4"]
        mean = (a.report.scores[::2] + b.report.scores) / 2
        assert torch.allclose(together.report.scores, mean)


def test_other_videos_labels_or_classes_are_refused():
    a, b = some_scores(), some_scores(frames=8, checkpoint="runs/b.safetensors")
    names = r"runs/b.safetensors and runs/a.safetensors"
    fewer = change(b, samples=b.report.samples[:2], scores=b.report.scores[:2])
    with pytest.raises(ValueError, match=rf"{names} were not tested on the same .* val/z.mp4"):
        ensemble.average_models([a, fewer])
    other = change(b, samples=(*b.report.samples[:2], Sample("videos/val/z.mp4", 0)))
    with pytest.raises(ValueError, match=r"or have other labels; for instance val/z.mp4"):
        ensemble.average_models([a, other])
    with pytest.raises(ValueError, match=rf"{names} have different classes: 2 and 2, and 'left' is in"):
        ensemble.average_models([a, change(b, classes=("up", "right"))])
    with pytest.raises(ValueError, match="different classes: the same classes, but in another"):
        ensemble.average_models([a, change(b, classes=("right", "left"))])
    nothing = Report(
        (),
        ("left", "right"),
        torch.zeros(0, 2),
        {p: VideoError(p, "x") for p in [sample.path for sample in b.report.samples]},
    )
    with pytest.raises(ValueError, match=r"no video could be read by all of runs/a.safetensors, runs/b"):
        ensemble.average_models([a, dataclasses.replace(b, report=nothing)])
