"""`predict` and `predict_all` for files and arrays, with damaged and unreadable videos."""

import dataclasses

import numpy as np
import pytest
import torch

from tanet import predict, predict_all
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.inference.predict import Prediction
from tanet.models.factory import build
from tanet.recipes.recipe import Eval
from tanet.video import FrameArray, VideoError, read_frames
from tests.support.tiny_videos import TINY, make


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = build(TINY.model, classes=7).eval()
    torch.nn.init.normal_(network.head.weight)
    return Checkpoint(network, TINY, tuple("abcdefg"))


def test_file_and_array_of_its_frames_give_same_prediction(model, tmp_path):
    path = make(tmp_path / "a.mp4", frames=12)
    of_file = predict(path, model)
    assert of_file.video == str(path)
    assert of_file.frames == 12
    assert not of_file.note
    assert (of_file.label, of_file.score) == of_file.top5[0]
    assert [score for _, score in of_file.top5] == sorted((score for _, score in of_file.top5), reverse=True)
    frames = read_frames(path, range(12))
    for array in (frames, frames.numpy()):
        assert predict(array, model).top5 == of_file.top5
    assert predict(str(path), model) == of_file


def test_eval_argument_changes_views(model, tmp_path):
    path = make(tmp_path / "a.mp4")
    assert predict(path, model).top5 != predict(path, model, eval=Eval(3, 3, 40, 32)).top5


def test_clips_longer_than_network_takes_are_rejected(model, tmp_path):
    path, eval = make(tmp_path / "a.mp4"), Eval(resize=32, size=32, frames=9)
    message = r"^eval\.frames 9: this network takes only clips of 4 frames: give --eval\.frames 0$"
    with pytest.raises(ValueError, match=message):
        predict(path, model, eval=eval)
    with pytest.raises(ValueError, match=message):
        list(predict_all([path], model, eval=eval))


def test_array_of_wrong_type_or_shape_is_rejected(model):
    for array in (
        np.zeros((4, 32, 32, 2)),
        np.zeros((32, 32), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match=r"array: expected frames \[frames, H, W, 3\], not"):
            predict(array, model)


def test_nan_scores_are_rejected(model, tmp_path):
    path = make(tmp_path / "a.mp4")
    broken = dataclasses.replace(model, network=build(TINY.model, classes=7).eval())
    torch.nn.init.constant_(broken.network.head.weight, float("nan"))
    for answer in (lambda: predict(path, broken), lambda: list(predict_all([path], broken))):
        with pytest.raises(ValueError, match=r"a.mp4: the network's scores are not numbers \(NaN\)"):
            answer()


def test_predict_all_keeps_order_and_returns_errors_of_bad_videos(model, tmp_path):
    good = [make(tmp_path / f"{i}.mp4", seed=i) for i in range(5)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    paths = [*good[:3], bad, tmp_path / "absent.mp4", *good[3:]]
    answers = list(predict_all(paths, model))
    kinds = [Prediction] * 3 + [VideoError] * 2 + [Prediction] * 2
    assert [type(answer) for answer in answers] == kinds
    assert [a.video for a in answers if isinstance(a, Prediction)] == [str(path) for path in good]
    assert answers[0].top5 == predict(good[0], model).top5


def test_damaged_video_is_predicted_from_its_readable_frames(model, data):
    recipe = dataclasses.replace(model.recipe, eval=dataclasses.replace(model.recipe.eval, clips=5))
    answer = predict(data / "clips/odd/corrupted.mp4", dataclasses.replace(model, recipe=recipe))
    assert answer.frames == 28
    assert answer.note == "damaged: only 28 of 50 frames can be read"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_frames_give_same_prediction_as_cpu_frames(model, tmp_path):
    frames = read_frames(make(tmp_path / "a.mp4", frames=12), range(12))
    assert predict(frames.cuda(), model).top5 == predict(frames, model).top5


def test_frame_array_copies_frames_to_cpu():
    array = FrameArray(torch.zeros(5, 4, 6, 3, dtype=torch.uint8, device="meta"))
    with pytest.raises(NotImplementedError, match="meta"):  # a meta tensor cannot be copied to the CPU
        array.read([0, 3])
