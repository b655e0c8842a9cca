"""Two streams from the command line: flow is trained, tested with RGB on the same videos, and predicted."""

import pytest
import torch

from tanet import predict, predict_all
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.data.flow_video import ComputedFlow
from tanet.data.samples import Sample
from tanet.evaluation import score_files
from tanet.models.factory import build
from tanet.video import DamagedVideo, FrameArray, VideoError, open_video, read_frames
from tanet.visualization.record import record_clip
from tests.support.moving_flow import write_flow
from tests.support.tiny_videos import TINY, changed, make_folders

pytest.importorskip("cv2")
CLASSES = ("move_left", "move_right")
RGB = changed(TINY, model={"temporal": "tsm"})
FLOW = changed(RGB, model={"flows": 2}, data={"flow_size": (0, 0)})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Write videos and their flow; return the folder that holds both."""
    root = tmp_path_factory.mktemp("two")
    for video in sorted(make_folders(root / "videos").rglob("*.mp4")):
        write_flow(video, root / "flow" / video.relative_to(root / "videos").with_suffix(""))
    return root


@pytest.fixture(scope="module")
def models(videos):
    """Write checkpoints of both streams; the one of flow was trained on the folder of flow."""
    roots = {"rgb": videos / "videos", "flow": videos / "flow"}
    for name, recipe in (("rgb", RGB), ("flow", FLOW)):
        recipe = changed(recipe, data={"root": str(roots[name])})
        torch.manual_seed(0)
        network = build(recipe.model, classes=2)
        torch.nn.init.normal_(network.head.weight)
        checkpoint.save(videos / f"{name}.safetensors", Checkpoint(network, recipe, CLASSES))
    return [str(videos / f"{name}.safetensors") for name in roots]


def test_flow_is_trained_and_keeps_how_it_was_computed(videos, tmp_path):
    (videos / "flow" / "flow.json").write_text('{"method": "farneback", "width": 0, "height": 0}')
    flags = [
        *("--data.root", str(videos / "videos"), "--data.flow", str(videos / "flow"), "--device", "cpu"),
        *("--model.flows", "2", "--model.frames", "2", "--model.temporal", "tsm", "--optim.epochs", "1"),
        *("--data.workers", "0", "--optim.batch", "4", "--optim.warmup", "0", "--out", str(tmp_path / "run")),
    ]
    assert main(["train", "verbs", *flags]) == 0
    (videos / "flow" / "flow.json").unlink()
    trained = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert trained.network.channels == 4
    assert trained.recipe.data.flow_method == "farneback"
    # A video without stored flow: it is computed in the same way.
    assert predict(videos / "videos" / "val" / "move_left" / "0.mp4", trained).label in CLASSES


@pytest.mark.parametrize("given", [(), ("--data.root", "videos", "--data.flow", "flow")])
def test_both_streams_are_tested_on_the_same_videos(given, videos, models, tmp_path):
    given = tuple(str(videos / word) if not word.startswith("--") else word for word in given)
    out = ["--device", "cpu", "--save-scores"]
    for number, model in enumerate(models):
        assert main(["test", model, *given, *out, str(tmp_path / str(number))]) == 0
    assert main(["test", *models, "--weights", "1", "3", *given, *out, str(tmp_path / "both")]) == 0
    rgb, flow, both = (score_files.load(tmp_path / name).report.scores for name in ("0", "1", "both"))
    assert len(both) == 4
    assert torch.allclose(both, 0.25 * rgb + 0.75 * flow)
    assert not torch.allclose(rgb, flow, atol=1e-2)


def test_streams_of_other_videos_are_refused(videos, models, tmp_path, capsys):
    (tmp_path / "flow" / "val" / "move_left").mkdir(parents=True)
    video = videos / "videos" / "val" / "move_left" / "0.mp4"
    write_flow(video, tmp_path / "flow" / "val" / "move_left" / "7")
    flags = ["--data.root", str(tmp_path / "flow"), "--device", "cpu", "--save-scores", str(tmp_path / "one")]
    assert main(["test", models[1], *flags]) == 0
    assert main(["test", models[0], str(tmp_path / "one"), "--device", "cpu"]) == 2
    assert "were not tested on the same videos" in capsys.readouterr().err


def test_prediction_computes_flow_or_takes_it_from_a_folder(videos, models):
    path = videos / "videos" / "val" / "move_right" / "1.mp4"
    computed = predict(path, models[1])
    stored = predict(videos / "flow" / "val" / "move_right" / "1", models[1])
    assert (computed.frames, stored.frames) == (12, 11)
    assert stored.score == pytest.approx(computed.score, abs=0.02)  # but for JPEG
    both = predict(path, models)
    rgb = predict(path, models[0])
    scores = {label: score / 2 for label, score in rgb.top5}
    for label, score in computed.top5:
        scores[label] += score / 2
    assert dict(both.top5) == pytest.approx(scores, abs=1e-6)
    with open_video(path) as video:
        flow = ComputedFlow(video, method="dis", size=(0, 0))
        assert predict(flow, models[1]).top5 == computed.top5
        with pytest.raises(VideoError, match="optical flow, and the network takes RGB frames"):
            predict(flow, models[0])
    (error,) = predict_all([[torch.zeros(32, 32, 3, dtype=torch.uint8)]], models[1])
    assert "one frame: flow needs two" in str(error)


def test_damaged_video_gives_flow_of_its_readable_frames(videos, models):
    class Cut(FrameArray):
        """A video that promises 12 frames, of which 9 can be read."""

        def read(self, indices):
            if max(indices) >= 9:
                self.frames = 9
                raise DamagedVideo("cut", "cut short", 9)
            return super().read(indices)

    frames = read_frames(videos / "videos" / "val" / "move_right" / "1.mp4", range(12))
    answer = predict(Cut(frames), models[1])
    assert (answer.frames, answer.note) == (9, "damaged: only 9 of 12 frames can be read")
    assert answer.top5 == predict(frames[:9], models[1]).top5


def test_gates_of_a_flow_network_are_shown_beside_its_flow(videos):
    recipe = changed(FLOW, model={"temporal": "tam"})
    model = Checkpoint(build(recipe.model, classes=2), recipe, CLASSES)
    found = record_clip(model, Sample(str(videos / "videos" / "val" / "move_left" / "0.mp4"), 0))
    assert found.frames.shape == (4, 3, 32, 32)
    assert (found.frames[:, 2] == 128).all()
