"""Reading random sets of frames equals sequential decoding bit for bit, for files of every kind."""

import random

import pytest

from tanet.video import open_video
from tests.support import encoded_videos

SETS = 200  # per file
REAL = {"decode/*/*.avi": 10, "arrow6/val/*/*.mp4": 10, "clips/odd/video_*.mov": 1, "clips/action/*.mp4": 1}

pytestmark = pytest.mark.long


def check(path, *, leave_out=0):
    """Read random sets of frames, without the last `leave_out`."""
    truth, choose = encoded_videos.decode_sequentially(path), random.Random(path.name)
    for _ in range(SETS):
        indices = choose.choices(range(len(truth) - leave_out), k=choose.choice((1, 2, 3, 8, 16)))
        with open_video(path) as video:
            assert (video.read(indices).numpy() == truth[indices]).all(), (path, indices)


def test_generated_files_are_read_exactly(tmp_path):
    for name, path in encoded_videos.encode_all_kinds(tmp_path).items():
        # Leave out the last frame of a truncated file: it may be incomplete, with undefined content.
        check(path, leave_out=name.startswith("cut_"))


def test_real_files_are_read_exactly(data):
    for pattern, step in REAL.items():
        for path in sorted(data.glob(pattern))[::step][:3]:
            check(path)
