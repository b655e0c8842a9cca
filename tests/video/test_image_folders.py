"""Folders of frames that also contain other images: optical flow, hidden files, covers, several series."""

import av
import numpy as np
import pytest

from tanet.data.tools.check import check_video
from tanet.video import VideoError, open_video


def save_image(path, value, *, size=(16, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    av.VideoFrame.from_ndarray(np.full((*size, 3), value, np.uint8), format="rgb24").save(str(path))


def read_pixel_values(folder):
    with open_video(folder) as video:
        return video.read(range(video.frames))[:, 0, 0, 0].tolist()


FRAMES = [0, 20, 40, 60]


@pytest.mark.parametrize(
    ("frame", "others"),
    [
        ("img_{:05d}.png", ["flow_x_{:05d}.png", "flow_y_{:05d}.png"]),  # TSN, TSM
        ("img_{:05d}.png", ["x_{:05d}.png", "y_{:05d}.png"]),  # mmaction2
        ("image_{:05d}.png", ["flow_u_{:05d}.png", "flow_v_{:05d}.png"]),
        ("{:06d}.png", ["flow_{:06d}.png"]),
        ("frame{}.png", ["flow-x-{}.png", "flowy{}.png"]),
        ("img_{:05d}.png", ["thumb_{:05d}.png"]),
        ("img_{:05d}.png", ["mask_{:05d}.png", "depth_{:05d}.png"]),
        ("x_{:05d}.png", []),
        ("{}.png", ["cover.png"]),
        ("clip_a_{:03d}.png", ["preview.png", "Thumbs.png"]),
        ("v1_t{}.png", ["._v1_t{}.png", ".DS_Store.png"]),
    ],
)
def test_only_frames_are_read(frame, others, tmp_path):
    for number, value in enumerate(FRAMES, start=1):
        save_image(tmp_path / frame.format(number), value)
        for other in others:
            if other.startswith("."):
                (tmp_path / other.format(number)).write_bytes(b"\0\5\x16\7" + bytes(200))
            else:
                save_image(tmp_path / other.format(number), 255)
    assert read_pixel_values(tmp_path) == FRAMES
    assert check_video(tmp_path, min_frames=1).frames == len(FRAMES)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("left_{}.png", "right_{}.png"),
        ("frame_{}.png", "mask_of_{}.png"),
        ("img_{}.png", "img_{}.jpg"),
        ("img_{}.png", "img_{} (copy).png"),
    ],
)
def test_several_series_are_rejected_with_their_names(one, two, tmp_path):
    for number in range(1, 5):
        save_image(tmp_path / one.format(number), 1)
        if number < 4:
            save_image(tmp_path / two.format(number), 2)
    with pytest.raises(VideoError, match=r"several series of pictures: 4 like .*, 3 like ") as raised:
        open_video(tmp_path)
    assert one.format(1) in str(raised.value)
    assert two.format(1) in str(raised.value)


def test_file_names_with_several_numbers_form_one_series(tmp_path):
    for number, value in enumerate(FRAMES):
        save_image(tmp_path / f"cut7_{number // 2}.{number % 2}.png", value)
    assert read_pixel_values(tmp_path) == FRAMES


def test_folder_of_hidden_files_is_empty(tmp_path):
    save_image(tmp_path / "a.png", 1)
    (tmp_path / "a.png").rename(tmp_path / "._a.png")
    with pytest.raises(VideoError, match="without pictures"):
        open_video(tmp_path)
    assert check_video(tmp_path, min_frames=1).verdict == "empty"


def test_images_of_another_size_are_scaled_with_note(tmp_path):
    for number, value in enumerate(FRAMES):
        save_image(tmp_path / f"{number}.png", value, size=(16, 32) if number < 2 else (20, 30))
    with open_video(tmp_path) as video:
        assert video.read(range(4)).shape == (4, 16, 32, 3)
        assert "from 32 × 16 to 30 × 20" in video.notes[0]
