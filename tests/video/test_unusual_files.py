"""Unusual files of cameras and programs: wrong times, several streams, mirrored, changing size, large."""

import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tanet.data.tools.check import check_video
from tanet.video import open_video, read_frames
from tanet.video.video_file import VideoFile


def draw(number, *, size=(64, 96)):
    """Draw a bright square that moves to the right."""
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[20:40, 2 * number : 2 * number + 16] = 255
    picture[:, :, 2] = np.arange(width)
    return picture


def encode(path, *, codec="libx264", frames=40, size=(64, 96), options=None, **context):
    options = {"crf": "10", "b_strategy": "0", **(options or {})} if codec == "libx264" else options or {}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for number in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, size=size), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def remux(source, target, *, generate_times=False, change=lambda packet: None):
    """Copy packets into another container."""
    options = {"fflags": "genpts"} if generate_times else {}
    with av.open(str(source), options=options) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                change(packet)
                packet.stream = stream
                new.mux(packet)
    return target


def decode(path):
    """Decode all frames in order, as stored: the expected frames of files without a display matrix."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def assert_reads_in_order(path, **options):
    truth = decode(path)
    with VideoFile(Path(path), name=Path(path), **options) as video:
        assert video.frames == len(truth)
        for indices in ([5], [len(truth) - 1, 2], range(len(truth))):
            assert np.array_equal(video.read(list(indices)).numpy(), truth[list(indices)])


def copy_decoding_time(packet):
    packet.pts = packet.dts


def shift_and_copy(packet):
    packet.pts = packet.dts + 2 * packet.duration


@pytest.fixture(scope="module")
def folder_with_b_frames(tmp_path_factory):
    """Folder with files that contain B-frames."""
    folder = tmp_path_factory.mktemp("camera")
    encode(folder / "camera.avi", max_b_frames=3)
    encode(folder / "good.mp4", max_b_frames=3)
    encode(folder / "mpeg4.avi", codec="mpeg4", max_b_frames=2)
    encode(folder / "mpeg4.mp4", codec="mpeg4", max_b_frames=2)
    return folder


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("source", ["camera.avi", "mpeg4.avi"])
def test_frames_keep_order_after_remuxing_with_generated_times(
    folder_with_b_frames, source, suffix, tmp_path
):
    assert_reads_in_order(
        remux(folder_with_b_frames / source, tmp_path / f"remuxed.{suffix}", generate_times=True)
    )


@pytest.mark.parametrize("change", [copy_decoding_time, shift_and_copy])
@pytest.mark.parametrize("name", ["good.mp4", "mpeg4.mp4"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "mov"])
def test_frames_keep_order_if_display_times_are_decoding_times(
    folder_with_b_frames, name, suffix, change, tmp_path
):
    if (name, suffix) == ("mpeg4.mp4", "flv"):
        pytest.skip("FLV cannot hold MPEG-4")
    assert_reads_in_order(remux(folder_with_b_frames / name, tmp_path / f"times.{suffix}", change=change))


def test_wrong_times_of_hevc_file_are_found(tmp_path):
    if "libx265" not in av.codecs_available:
        pytest.skip("no encoder libx265")
    options = {"x265-params": "log-level=none:pools=none:bframes=3", "preset": "ultrafast"}
    source = encode(tmp_path / "good.mp4", codec="libx265", options=options)
    assert_reads_in_order(source)
    assert_reads_in_order(remux(source, tmp_path / "times.mkv", change=copy_decoding_time))


def test_correct_times_keep_packet_index(folder_with_b_frames, tmp_path):
    for path in (folder_with_b_frames / "good.mp4", encode(tmp_path / "no_b.mp4", max_b_frames=0)):
        with VideoFile(path, name=path) as video:
            assert video._index is not None
            assert_reads_in_order(path)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("first", [True, False])
def test_preview_stream_is_not_read_as_video(first, suffix, tmp_path):
    path = tmp_path / f"video.{suffix}"
    with av.open(str(path), "w") as out:

        def preview():
            stream = out.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            return stream

        small = preview() if first else None
        main = out.add_stream("libx264", rate=25)
        main.width, main.height, main.pix_fmt = 96, 64, "yuv420p"
        small = small or preview()
        none, default = av.stream.Disposition(0), av.stream.Disposition.default
        small.disposition, main.disposition = none, default
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        out.mux([*small.encode(picture.reformat(format="yuvj420p")), *small.encode(None)])
        for number in range(30):
            out.mux(main.encode(av.VideoFrame.from_ndarray(draw(number), format="rgb24")))
        out.mux(main.encode(None))
    with open_video(path) as video:
        assert (video.frames, video.info.height, video.info.width) == (30, 64, 96)
        with av.open(str(path)) as container:
            truth = [
                frame.to_ndarray(format="rgb24")
                for frame in container.decode(container.streams.best("video"))
            ]
        assert np.array_equal(video.read(range(30)).numpy(), truth)
    assert check_video(path, min_frames=1).frames == 30


ORIENTATIONS = {  # a, b, c, d of the display matrix → what a player shows
    "as stored": ((1, 0, 0, 1), lambda x: x),
    "turned right": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "turned by 180°": ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
    "turned left": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    "transposed along the other diagonal": ((0, -1, -1, 0), lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_display_matrix_is_applied(name, tmp_path):
    source = encode(tmp_path / "stored.mp4", frames=5)
    data = source.read_bytes()
    at = data.find(b"tkhd") + 44
    (a, b, c, d), show = ORIENTATIONS[name]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    shown = tmp_path / "shown.mp4"
    shown.write_bytes(data[:at] + matrix + data[at + 36 :])
    expected = show(decode(source)[3])
    assert np.array_equal(read_frames(shown, [3])[0].numpy(), expected)
    with open_video(shown) as video:
        assert (video.info.height, video.info.width) == expected.shape[:2]


@pytest.mark.parametrize("suffix", ["ts", "h264", "m2v"])
def test_frames_of_another_size_are_scaled_to_size_of_first_frame(suffix, tmp_path):
    codec = "mpeg2video" if suffix == "m2v" else "libx264"
    parts = [
        encode(tmp_path / f"{name}.{suffix}", codec=codec, frames=20, size=size)
        for name, size in (("a", (64, 96)), ("b", (96, 128)))
    ]
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_video(path) as video:
        frames = video.frames
        last = video.read([frames - 1])
        assert last.shape == (1, 64, 96, 3)
        assert (video.info.height, video.info.width) == (64, 96)
        assert "from 96 × 64 to 128 × 96" in video.notes[0]
        assert np.array_equal(video.read(range(frames))[-1].numpy(), last[0].numpy())
        assert len(video.notes) == 1
    # The whole frame is scaled, not cropped.
    assert abs(last[0, :, :, 2].float().mean() - np.arange(128).mean()) < 8
    finding = check_video(path, min_frames=1)
    assert (finding.verdict, finding.frames) == ("odd", frames)
    assert "picture size changes" in finding.cause


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi"])
def test_packets_beyond_limit_are_read_again(folder_with_b_frames, suffix, tmp_path):
    path = folder_with_b_frames / "camera.avi"
    if suffix != "avi":
        path = remux(folder_with_b_frames / "good.mp4", tmp_path / f"long.{suffix}")
    assert_reads_in_order(path, kept=1000)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_large_file_without_b_pictures_is_read(suffix, tmp_path):
    assert_reads_in_order(encode(tmp_path / f"long.{suffix}", max_b_frames=0), kept=1000)


def test_large_avi_is_mapped(tmp_path):
    assert_reads_in_order(encode(tmp_path / "video.avi", codec="mpeg4", max_b_frames=0), kept=1000)


MEMORY = """
import sys
from pathlib import Path
from tanet.video.video_file import VideoFile
path = Path(sys.argv[1])
with VideoFile(path, name=path, kept=int(sys.argv[2])) as video:
    for number in range(0, video.frames, 50):
        video.read([number])
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # peak, in KiB
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_file_size(tmp_path):
    size = (256, 256)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = tmp_path / "noise.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25, options={"qmin": "1", "qmax": "1"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuvj420p"
        (packet,) = stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24"))
        for number in range(1000):
            copy = av.Packet(bytes(packet))
            copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, True
            copy.pts = copy.dts = number
            out.mux(copy)
    megabytes = path.stat().st_size / 1e6
    assert megabytes > 60

    def peak(kept):
        words = [sys.executable, "-c", MEMORY, str(path), str(kept)]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) / 1e3

    assert peak(2**20) < peak(2**40) - 0.8 * megabytes
