"""Arrays of decoded frames, in memory or in .npy files, can be read like videos."""

import numpy as np
import pytest
import torch

from tanet.data.annotations import read_split
from tanet.data.tools.check import check_video
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.video import FrameArray, VideoError, open_video

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


def test_npy_file_is_a_video(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, FRAMES)
    with open_video(path) as video:
        assert (video.info.frames, video.info.height, video.info.width, video.fps) == (5, 4, 6, None)
        read = video.read([[3, 0], [3, 4]])
        assert (read.numpy() == FRAMES[[[3, 0], [3, 4]]]).all()
        read.zero_()  # read returns a copy, so the file does not change
        assert (video.read(range(5)).numpy() == FRAMES).all()
        assert video.read([]).shape == (0, 4, 6, 3)
    assert check_video(path, min_frames=1).verdict == "ok"
    assert (np.load(path) == FRAMES).all()


def test_npy_files_are_found_in_class_folders(tmp_path):
    for name in ("train/a/0.npy", "train/b/0.npy", "val/a/1.npy"):
        (tmp_path / name).parent.mkdir(parents=True)
        np.save(tmp_path / name, FRAMES)
    split = read_split(Data(root=str(tmp_path)))
    assert (len(split.train), len(split.val), split.classes) == (2, 1, ("a", "b"))


@pytest.mark.parametrize("frames", [FRAMES, torch.from_numpy(FRAMES)])
def test_wrong_indices_are_rejected(frames):
    video = FrameArray(frames, name="clip")
    for index in (-1, 5):
        with pytest.raises(ValueError, match=f"clip: no frame {index}; the video has 5 frames"):
            video.read([0, index])
    with pytest.raises(ValueError, match="clip: frame indices must be integers, not float64"):
        video.read([0.5])


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "not a .npy file written by numpy.save, or"),
        (b"no array", "not a .npy file written by numpy.save, or"),
        (FRAMES / 100 - 1, "float64 frames with values -1 … 1.55: these look normalised"),
        (FRAMES[:, :2, :, :2], r"expected frames \[frames, H, W, 3\], not uint8 \[5, 2, 6, 2\]"),
        (FRAMES[0], r"one picture, not a video: \[4, 6, 3\]"),
        (FRAMES[:0], r"not uint8 \[0, 4, 6, 3\]"),
        (np.array([{}]), "not a .npy file written by numpy.save, or"),  # a pickle, which must not be loaded
    ],
)
def test_npy_file_with_other_content_is_rejected(content, cause, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(VideoError, match=cause) as raised:
        open_video(path)
    assert str(raised.value).startswith(str(path))
    assert check_video(path, min_frames=1).verdict in ("unreadable", "empty")


def test_truncated_npy_file_is_rejected(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(VideoError, match="truncated"):
        open_video(path)


def test_array_of_wrong_shape_is_rejected():
    with pytest.raises(UserError, match=r"expected frames \[frames, H, W, 3\], not uint8 \[5, 7, 2, 6\]"):
        FrameArray(torch.zeros(5, 7, 2, 6, dtype=torch.uint8))


@pytest.mark.parametrize("index", [3, np.int64(3), [3], torch.tensor(3)])
def test_read_returns_a_copy(index):
    for frames in (FRAMES.copy(), torch.from_numpy(FRAMES.copy())):
        FrameArray(frames).read(index).zero_()
        assert (np.asarray(frames) == FRAMES).all()
