"""Flow measures motion, is stored in the published layouts, and continues where it was stopped."""

import json
import sys

import numpy as np
import pytest

from bench import flow as benchmark
from tanet import synthetic
from tanet.cli import main
from tanet.data.optical_flow import bytes_to_flow, flow_to_bytes, import_opencv, make_estimator
from tanet.errors import UserError
from tanet.video.frame_folder import decode_picture

pytest.importorskip("cv2")


def moving_texture(frames):
    """Return grey frames, uint8 [T, 96, 128], of a texture that moves to the right by 2 pixels."""
    return benchmark.moving_texture(frames, height=96, width=128)


@pytest.mark.parametrize(("method", "within"), [("dis", 0.02), ("tvl1", 0.02), ("farneback", 0.15)])
def test_flow_of_a_moving_texture_is_its_motion(method, within):
    first, second = moving_texture(2)
    flow = make_estimator(method)(first, second)
    assert flow.shape == (96, 128, 2)
    assert flow[8:-8, 8:-8].mean((0, 1)) == pytest.approx((2, 0), abs=within)


def test_bytes_stand_for_plus_and_minus_twenty_pixels():
    flow = np.array([-30.0, -20.0, 0.0, 10.0, 20.0, 21.0], dtype=np.float32)
    stored = flow_to_bytes(flow)
    assert stored.tolist() == [0, 0, 128, 191, 255, 255]
    assert np.abs(bytes_to_flow(stored) - flow.clip(-20, 20)).max() <= 20 / 255 + 1e-6
    with pytest.raises(ValueError, match="not numbers"):
        flow_to_bytes(np.array([np.nan]))


@pytest.fixture
def videos(tmp_path):
    """Write two videos of a texture that moves by 2 pixels per frame; return their folder."""
    root = tmp_path / "videos"
    for verb, frames in (("go", 4), ("stay", 3)):
        (root / verb).mkdir(parents=True)
        pixels = np.repeat(moving_texture(frames)[..., None], 3, axis=3)
        synthetic.write_video(root / verb / "1.mp4", pixels)
    return root


def compute(videos, out, *flags):
    """Run the command on frames of their own size, with one process."""
    return main(["data", "flow", str(videos), str(out), "--size", "0", "0", "--workers", "1", *flags])


@pytest.fixture
def in_this_process(monkeypatch):
    """Compute without worker processes, which take seconds to start."""

    def apply(work, paths, **_):
        return ((path, work(path)) for path in paths)

    monkeypatch.setattr("tanet.data.tools.flow.map_files", apply)


def test_worker_processes_write_flow(videos, tmp_path):
    assert compute(videos, tmp_path / "flow") == 0
    assert len(list((tmp_path / "flow").rglob("flow_x_*.jpg"))) == 5


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("layout", ["xy", "rgb"])
def test_command_writes_one_flow_for_each_pair_of_frames(layout, videos, tmp_path):
    out = tmp_path / "flow"
    assert compute(videos, out, "--layout", layout) == 0
    if layout == "xy":
        names = [f"flow_{axis}_{number:05d}.jpg" for axis in "xy" for number in (1, 2, 3)]
        x, y = (decode_picture(out / "go" / "1" / names[i]).to_ndarray(format="gray") for i in (0, 3))
    else:
        names = [f"{number:06d}.jpg" for number in (1, 2, 3)]
        x, y, blank = np.moveaxis(
            decode_picture(out / "go" / "1" / names[0]).to_ndarray(format="rgb24"), 2, 0
        )
        assert abs(blank.mean() - 128) < 1
    assert sorted(file.name for file in (out / "go" / "1").iterdir()) == names
    assert len(list((out / "stay" / "1").iterdir())) == 2 * len(names) // 3
    inside, step = (slice(8, -8), slice(8, -8)), 40 / 255
    assert bytes_to_flow(x)[inside].mean() == pytest.approx(2, abs=step)
    assert bytes_to_flow(y)[inside].mean() == pytest.approx(0, abs=step)


@pytest.mark.usefixtures("in_this_process")
def test_second_run_computes_only_what_is_missing(videos, tmp_path, capsys):
    out = tmp_path / "flow"
    assert compute(videos, out) == 0
    before = {file: file.read_bytes() for file in out.rglob("*.jpg")}
    kept = (out / "go" / "1").stat().st_mtime_ns
    for file in (out / "stay" / "1").iterdir():
        file.unlink()
    (out / "stay" / "1").rename(out / "stay" / ".1.part")  # what a killed run leaves
    assert compute(videos, out) == 0
    assert {file: file.read_bytes() for file in out.rglob("*.jpg")} == before
    assert (out / "go" / "1").stat().st_mtime_ns == kept
    assert not list(out.rglob(".*"))
    assert "flow of 2 of 2 videos" in capsys.readouterr().out
    assert compute(videos, out, "--layout", "rgb") == 2
    assert "has flow with layout xy, not rgb: use the same settings" in capsys.readouterr().err
    (out / "go" / "1" / "flow_x_00002.jpg").unlink()  # a damaged folder is computed again
    assert compute(videos, out) == 0
    assert {file: file.read_bytes() for file in out.rglob("*.jpg")} == before


@pytest.mark.usefixtures("in_this_process")
def test_size_is_that_of_the_stored_flow(videos, tmp_path):
    assert main(["data", "flow", str(videos / "stay"), str(tmp_path / "flow"), "--size", "64", "48"]) == 0
    x = decode_picture(tmp_path / "flow" / "1" / "flow_x_00001.jpg")
    assert (x.width, x.height) == (64, 48)
    assert json.loads((tmp_path / "flow" / "flow.json").read_text())["width"] == 64


@pytest.mark.usefixtures("in_this_process")
def test_videos_without_flow_are_named(videos, tmp_path, capsys):
    (videos / "go" / "broken.mp4").write_bytes(b"no video")
    synthetic.write_video(videos / "go" / "one.mp4", np.zeros((1, 32, 32, 3), dtype=np.uint8))
    bad = tmp_path / "bad.txt"
    assert compute(videos, tmp_path / "flow", "--bad", str(bad)) == 1
    told = capsys.readouterr()
    assert "one.mp4: one frame: flow needs two" in told.err
    assert "flow of 2 of 4 videos" in told.out
    assert set(bad.read_text().split()) == {"go/broken.mp4", "go/one.mp4"}  # as --data.quarantine reads them
    assert not list((tmp_path / "flow").rglob(".*"))


@pytest.mark.usefixtures("in_this_process")
def test_folders_and_settings_that_cannot_work_are_refused(videos, tmp_path, capsys):
    assert compute(videos, videos / "flow") == 2
    assert "choose another OUT" in capsys.readouterr().err
    assert compute(tmp_path / "none", tmp_path / "flow") == 2
    assert "no such file or folder" in capsys.readouterr().err
    (videos / "go" / "1.avi").write_bytes((videos / "go" / "1.mp4").read_bytes())
    assert compute(videos, tmp_path / "flow") == 2
    assert "would get the same folder" in capsys.readouterr().err
    assert compute(videos, tmp_path / "flow", "--quality", "0") == 2
    with pytest.raises(UserError, match="choose from dis, tvl1, farneback"):
        make_estimator("raft")


def test_missing_opencv_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"pip install 'tanet\[flow\]'"):
        import_opencv()
    fake = type(sys)("cv2")
    monkeypatch.setitem(sys.modules, "cv2", fake)
    with pytest.raises(UserError, match="TV-L1 needs opencv-contrib"):
        import_opencv("tvl1")
