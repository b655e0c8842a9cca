"""Streams: windows of the ring, answers equal to predictions, smoothing, sources that fail and come back."""

import json
import time
from contextlib import closing
from fractions import Fraction
from threading import Thread

import av
import numpy as np
import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.data.views import cut_views
from tanet.errors import UserError
from tanet.evaluation.scorer import video_scores
from tanet.inference.online import OnlineNetwork
from tanet.inference.watch import live_source, stream_reader
from tanet.inference.watch.frame_ring import FINE, Frame, FrameRing
from tanet.inference.watch.live_source import LiveSource, parse_source
from tanet.inference.watch.smoothing import Smoother, Smoothing
from tanet.inference.watch.watch import watch
from tanet.inference.windows import Span
from tanet.models.factory import build
from tanet.video import open_video
from tests.support.tiny_videos import TINY, changed, make, tiny_model
from tests.support.udp_source import send

PORT = 45_871


def frame(number, at):
    return Frame(number, at, time.monotonic(), torch.full((1, 3, 4, 4), number % 256, dtype=torch.uint8))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of 48 frames at 25 frames per second."""
    return make(tmp_path_factory.mktemp("stream") / "0.mp4", frames=48)


def test_windows_end_at_the_newest_frame():
    ring = FrameRing(frames=4, seconds=0.8, centred=False)
    for number in range(30):
        ring.add(frame(number, number / 25))
    found = ring.newest()
    # 0.8 s are 20 frames, of which every fifth is taken.
    assert [one.number for one in found.frames] == [10, 15, 20, 25]
    assert found.start == pytest.approx(0.4)
    assert ring.newest() is None
    for number in range(30, 55):
        ring.add(frame(number, number / 25))
    assert ring.newest().skipped == 5  # 30 … 34: the window has 35 … 54
    assert found.views.shape == (1, 4, 3, 4, 4)


def test_ring_is_bounded_and_fills_young_streams():
    ring = FrameRing(frames=4, seconds=1.0, centred=True)
    kept = 0
    for number in range(1000):
        if ring.wants(number / 500):
            ring.add(frame(number, number / 500))
            kept += 1
    assert len(ring) == FINE * 4 + 1
    assert ring.bytes == len(ring) * 3 * 16
    assert kept <= 70  # 64 and what rounding of times leaves
    ring.clear()
    ring.add(frame(0, 7.0))
    ring.add(frame(1, 7.04))
    young = ring.newest()
    assert [one.number for one in young.frames] == [0, 0, 0, 0]
    assert young.start == 7.0


def test_answers_are_predictions_of_the_same_frames(model, video):
    found = list(watch(model, str(video), window=Span(12), every=0.4))
    assert [answer.time for answer in found] == pytest.approx([0.4, 0.8, 1.2, 1.6, 1.88])
    with open_video(video) as opened:
        for answer in found:
            frames = opened.read([*answer.numbers])[None]
            wanted = video_scores(model.network, cut_views(frames, TINY.eval)[None], eval=TINY.eval)[0]
            assert dict(answer.top5)["a"] == float(wanted[0])
    assert found[-1].frames == 48
    assert found[-1].dropped == 1  # frame 0 is before the first window


def test_every_piece_of_a_file_gets_a_last_window(model, tmp_path):
    with av.open(str(tmp_path / "gap.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(40):
            picture = av.VideoFrame.from_ndarray(np.full((32, 48, 3), number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number + 500 * (number >= 20), Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    found = list(watch(model, str(tmp_path / "gap.mkv"), window=Span(12), every=0.5))
    assert [answer.time for answer in found][:2] == pytest.approx([0.52, 0.76], abs=2e-3)
    assert found[-1].time == pytest.approx(21.56, abs=2e-3)
    assert all(answer.start > 20 for answer in found if answer.time > 1)


def test_smoothing_averages_holds_and_hides():
    smooth = Smoother(Smoothing(average=2, margin=0.3, threshold=0.6))
    answers = [smooth(torch.tensor(p))[1] for p in ([0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9])]
    assert answers == [0, 0, 1, 1]
    assert Smoother(Smoothing(threshold=0.6))(torch.tensor([0.5, 0.5]))[1] is None
    with pytest.raises(UserError, match="threshold must be between 0 and 1"):
        Smoothing(threshold=2)


@pytest.mark.parametrize("temporal", ["tsm-online", "none"])
def test_single_frames_give_the_answer_of_the_clip(temporal):
    recipe = changed(TINY, model={"temporal": temporal, "stages": ("res3", "res5")})
    torch.manual_seed(1)
    network = build(recipe.model, classes=3).eval()
    torch.nn.init.normal_(network.head.weight)
    clips = torch.randn(2, 4, 3, 32, 32)
    online = OnlineNetwork(network)
    for _ in range(2):
        online.reset()
        for at in range(4):
            logits = online.step(clips[:, at])
        with torch.inference_mode():
            assert torch.allclose(logits, network(clips), rtol=0, atol=1e-6 * float(logits.abs().max()))
    with pytest.raises(UserError, match="needs whole clips"):
        OnlineNetwork(build(changed(TINY, model={"temporal": "tsm"}).model, classes=3))


def test_online_networks_watch_each_frame_of_a_clip_once(model, video):
    recipe = changed(TINY, model={"temporal": "tsm-online"})
    online = Checkpoint(build(recipe.model, classes=3).eval(), recipe, ("a", "b", "c"))
    found = list(watch(online, str(video), window=Span(12)))
    # A clip has a frame each 0.1 s, which are 2.5 frames of the video.
    assert [answer.numbers[-1] for answer in found][:6] == [3, 5, 8, 10, 13, 15]
    assert found[5].numbers == (8, 10, 13, 15)
    assert found[5].start == pytest.approx(8 / 25)
    fewer = list(watch(online, str(video), window=Span(12), every=0.35))
    # Each answer is four frames of a clip after the last one; the frames between were computed, too.
    assert [answer.numbers[-1] for answer in fewer][:3] == [10, 20, 30]
    assert fewer[0].top5 == found[3].top5
    assert fewer[-1].numbers == found[-1].numbers
    assert [answer.numbers for answer in watch(online, str(video), window=Span(12), every=99)] == [
        found[-1].numbers
    ]


def test_sources_are_cameras_addresses_and_files(video, tmp_path, monkeypatch):
    spaced = tmp_path / "a b.mp4"
    spaced.symlink_to(video)
    for name in (str(spaced), f"file:{spaced}", spaced.as_uri(), f"FILE://localhost{spaced}"):
        assert parse_source(name) == LiveSource(f"file:{spaced}", live=False)
    camera = parse_source("rtsp://me:secret@10.0.0.1/1")
    assert camera.live
    assert camera.name == "rtsp://10.0.0.1/1"
    for address in ("http://a:p@ss@host/x?token=1", "rtsp://a:b/c@host/x"):
        assert parse_source(address).name in ("http://host/x", "rtsp://host/x")
    with pytest.raises(UserError, match="no camera /dev/video7: "):
        parse_source("7")
    with pytest.raises(UserError, match="no such file; a source is a camera's number, an address or a video"):
        parse_source("absent.mp4")


def test_command_prints_json_lines(model, video, tmp_path, capsys):
    checkpoint.save(tmp_path / "a.safetensors", model)
    words = ["watch", str(tmp_path / "a.safetensors"), str(video), "--window", "12", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert lines[0].keys() >= {"time", "start", "wall", "label", "score", "top5", "latency_ms", "dropped"}
    assert "0 of 48 frames are in no window" in printed.err
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert main([*words[:2], str(tmp_path / "bad.mp4")]) == 2
    assert "bad.mp4: cannot be read: Invalid data" in capsys.readouterr().err


@pytest.mark.long
def test_stream_is_watched_and_opened_again(model, video, monkeypatch):
    monkeypatch.setattr(stream_reader, "SILENCE", 0.5)
    notes = []
    with closing(watch(model, f"udp://127.0.0.1:{PORT}", window=Span(12), note=notes.append)) as answers:
        for _ in range(2):
            source = Thread(target=send, args=(str(video), PORT), kwargs={"seconds": 3}, daemon=True)
            source.start()
            before = time.monotonic()
            for answer in answers:
                if time.monotonic() - answer.latency > before + 0.5:
                    break
            assert time.monotonic() - before < 5
            source.join()
            time.sleep(1)
    assert any("nothing came for" in note for note in notes)
    assert live_source.PROTOCOLS["udp"]
