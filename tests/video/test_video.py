"""Reading frame i gives exactly the i-th frame of sequential decoding, for every kind of file."""

import gc
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from tanet.video import STORES_TIMES, DamagedVideo, VideoError, open_video, probe, read_frames
from tanet.video.avi_packets import AviPackets
from tanet.video.packet_index import PacketIndex, PacketTable
from tests.support.encoded_videos import (
    CLIPS,
    EDIT_LIST_OPTIONS,
    begin_with_frame_17,
    decode_sequentially,
    draw_frame,
    encode,
    marking_not_coded,
    rewrite,
)

DATA = Path(os.environ.get("TANET_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data (TANET_DATA)")


def assert_equals_sequential(path) -> None:
    truth = decode_sequentially(path)
    assert probe(path).frames == len(truth)
    choose = random.Random(0)
    with open_video(path) as video:
        for count in (1, 1, 1, 1, 2, 3, 8, 8, 20):
            indices = [choose.randrange(len(truth)) for _ in range(count)]
            assert np.array_equal(video.read(indices).numpy(), truth[indices]), indices
        assert np.array_equal(video.read(range(len(truth))).numpy(), truth)
        assert video.info.frames == video.verify().frames == len(truth)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return a function that encodes a clip by name when it is first requested."""
    folder, made = tmp_path_factory.mktemp("clips"), {}

    def clip(name: str) -> Path:
        codec, group, options = CLIPS[name]
        if codec not in av.codecs_available:
            pytest.skip(f"no encoder {codec}")
        if name not in made:
            made[name] = encode(folder / name, codec, group, options)
        return made[name]

    return clip


@pytest.mark.parametrize("name", CLIPS)
def test_equals_sequential_decoding(clips, name):
    assert_equals_sequential(clips(name))


@pytest.mark.parametrize("name", CLIPS)
def test_header_gives_same_index_as_probing(clips, name):
    with open_video(clips(name)) as video, av.open(str(clips(name))) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        index = PacketIndex.of(PacketTable.of(packets), stream.codec_context, container=container.format.name)
        assert video.fps == float(stream.average_rate)
        found = video._index
        assert (found is None) == (index is None)
        if found and index:
            assert found.times.tolist() == index.times.tolist()
            assert (found.order, found.start, found.delay) == (index.order, index.start, index.delay)
        # Matroska stores no reordering delay, so its files are probed. So are files without an index.
        told = name in ("hevc.mp4", "vp9.webm") or (name.endswith(".mp4") and stream.name == "h264")
        assert video._probed == (index is None or not told)


def test_delay_counts_frames_decoded_before_but_shown_after_another():
    codec = SimpleNamespace(name="h264", field_order=1, has_b_frames=True)
    for seed in range(20):
        times = np.concatenate([[-1], np.random.default_rng(seed).permutation(12)])
        none = np.zeros(13, bool)
        index = PacketIndex.of(
            PacketTable(times, times, times, times < 0, none), codec, container=STORES_TIMES[0]
        )
        assert index
        assert index.delay == max((times[:at] > time).sum() for at, time in enumerate(times))


def test_each_frame_is_decoded_once_and_unneeded_groups_are_skipped(clips):
    with open_video(clips("groups_of_12.mp4")) as video:
        decode, fed, whole = video._frames, [], set()

        def spy(packets, *, asked):
            fed.extend(packets)
            whole.update(asked)
            yield from decode(packets, asked=asked)

        video._frames = spy
        frames = video.read([[13, 15], [13, 14], [50, 15]])
    assert frames.shape[:2] == (3, 2)
    assert torch.equal(frames[0, 0], frames[1, 0])
    assert len(fed) == len(set(fed)) <= 24
    assert len(whole) == 4  # other frames are decoded only if a requested one refers to them


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_variable_frame_rate_and_late_start_decode_correctly(tmp_path, container):
    times = list(np.cumsum(np.random.default_rng(0).integers(1, 9, 60)) + 500)
    path = encode(tmp_path / f"vfr.{container}", *CLIPS["groups_of_12.mp4"], times=map(int, times))
    assert_equals_sequential(path)


@pytest.mark.parametrize("name", ["one_group.mp4", "b_frames.mp4", "no_b_frames.mp4", "hevc.mp4", "ucf.avi"])
def test_wrong_key_frame_flags_are_detected(clips, name):
    truth = decode_sequentially(clips(name))
    for number in range(1, 60, 7):
        with open_video(clips(name)) as video:
            assert video._index
            every = list(range(60))  # as if every packet were flagged as a key frame
            video._index = replace(video._index, start=every)
            assert np.array_equal(video.read([number, 59]).numpy(), truth[[number, 59]])


@pytest.mark.parametrize("name", ["groups_of_12.mp4", "open_groups.mkv"])
@pytest.mark.parametrize("first", [1, 5])
def test_file_without_its_first_packets_decodes_correctly(clips, tmp_path, name, first):
    path = rewrite(clips(name), tmp_path / f"cut_{name}", lambda packets: packets[first:])
    assert_equals_sequential(path)


def test_edit_list_is_respected(clips, tmp_path):
    path = rewrite(
        clips("groups_of_12.mp4"), tmp_path / "edited.mp4", begin_with_frame_17, options=EDIT_LIST_OPTIONS
    )
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    assert_equals_sequential(path)
    assert np.array_equal(decode_sequentially(path), decode_sequentially(clips("groups_of_12.mp4"))[17:])


@pytest.mark.parametrize("numbers", [(7,), (1, 20, 21, 40), (59,), (58, 59)])
def test_frames_marked_as_not_coded_decode_correctly(clips, tmp_path, numbers):
    path = rewrite(clips("ucf.avi"), tmp_path / "not_coded.avi", marking_not_coded(*numbers))
    assert_equals_sequential(path)
    with open_video(path) as video:
        # At the end of the file, the decoder repeats the last frame.
        assert (video._index is None) == (59 in numbers)


def demux_packets(path, stream=0):
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=stream) if packet.size]
        return [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]


@pytest.mark.parametrize("name", ["ucf.avi", "with_sound.avi"])
def test_avi_index_gives_same_packets_as_demuxer(clips, tmp_path, name):
    path = clips("ucf.avi") if name == "ucf.avi" else add_sound(clips("ucf.avi"), tmp_path / name)
    with open_video(path) as video:
        assert isinstance(video._packets, AviPackets)
        found = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in video._packets]
    assert found == demux_packets(path)
    assert_equals_sequential(path)


def add_sound(source, target):
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        pictures = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("pcm_s16le", rate=8000, layout="mono")
        for packet in [packet for packet in old.demux(video=0) if packet.size]:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), format="s16", layout="mono")
            frame.rate, frame.pts = 8000, 320 * packet.pts
            packet.stream = pictures
            new.mux([packet, *sound.encode(frame)])
    return target


def test_wrong_avi_index_is_not_used(clips, tmp_path):
    data = clips("ucf.avi").read_bytes()
    with av.open(str(clips("ucf.avi"))) as container:
        places = [entry.pos for entry in container.streams.video[0].index_entries]
    table = data.rindex(b"idx1") + 8
    entry = data.index(b"00dc", table + 16 * 30)  # fields of an entry: name, flags, offset, size
    wrong = {
        "a chunk's name": (places[30], b"00xx"),
        "a chunk's size": (places[30] + 4, b"\x01"),
        "a place in the index": (entry + 8, b"\x01\x02"),
        "a size in the index": (entry + 12, b"\x07"),
        "an entry of the index": (entry, b"99xx"),
        "the size of the index": (table - 4, b"\x01"),
        "the size of the list": (data.rindex(b"movi") - 4, b"\x01"),
    }
    for name, (at, new) in wrong.items():
        path = tmp_path / f"{name}.avi"
        path.write_bytes(data[:at] + new + data[at + len(new) :])
        assert_equals_sequential(path)
        with open_video(path) as video:
            assert not isinstance(video._packets, AviPackets), name


@pytest.mark.parametrize("number", [12, 13, 24, 59])
def test_avi_file_with_reordered_frame_is_demuxed(clips, number):
    data = bytearray(clips("ucf.avi").read_bytes())
    with av.open(str(clips("ucf.avi"))) as container:
        entry = container.streams.video[0].index_entries[number]
    start = data.index(b"\x00\x00\x01\xb6", entry.pos) + 4
    assert number % 12 or start > entry.pos + 12  # key frames have headers before the frame
    data[start] = data[start] & 0x3F | 2 << 6  # set the frame type to bidirectional
    with open_video(bytes(data)) as video:
        assert not isinstance(video._packets, AviPackets)


@pytest.mark.parametrize("name", ["groups_of_12.mp4", "ucf.avi", "vp9.webm", "h264.ts"])
def test_bytes_decode_like_file(clips, name):
    data = clips(name).read_bytes()
    with open_video(data) as video:
        assert video.info == probe(clips(name))
        assert torch.equal(video.read([59, 3, 30]), read_frames(clips(name), [59, 3, 30]))
    with pytest.raises(VideoError, match=r"^video in memory: Invalid data"):
        open_video(b"no video")
    with pytest.raises(VideoError, match=r"^train-0001\.tar/7\.mp4: Invalid data"):
        open_video(b"no video", name="train-0001.tar/7.mp4")


def test_reopened_file_is_closed_first(clips):
    """If it were not closed, it would stay open, with its memory, until Python collects reference cycles."""
    path = clips("groups_of_12.mp4").resolve()

    def held():
        return sum(os.path.realpath(file) == str(path) for file in Path("/proc/self/fd").iterdir())

    gc.collect()
    gc.disable()
    try:
        with open_video(path) as video:
            first = video._container
            video.verify()
            assert video._container is not first
            assert held() == 1
        assert held() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["groups_of_12.mp4", "open_groups.mkv", "ucf.avi", "h264.ts", "vp9.webm"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated_file_has_its_remaining_frames(clips, tmp_path, name, part):
    first = {"movflags": "faststart"} if name.endswith("mp4") else {}
    whole = rewrite(clips(name), tmp_path / f"whole_{name}", lambda packets: packets, options=first)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    truth = decode_sequentially(path)
    real = probe(path, decode=True).frames
    assert 0 < real == len(truth) < 60
    # The last frame may be incomplete, so its pixels are undefined.
    assert np.array_equal(read_frames(path, range(real)).numpy()[:-1], truth[:-1])


def test_damaged_file_is_reported_and_remaining_frames_are_readable(clips, tmp_path):
    path = tmp_path / "damaged.mp4"
    data = bytearray(clips("one_group.mp4").read_bytes())
    with av.open(str(clips("one_group.mp4"))) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][30]
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    assert_damaged_after(len(decode_sequentially(path)), path, promised=60)


@needs_data
def test_real_corrupted_file_is_reported():
    assert_damaged_after(28, DATA / "clips" / "odd" / "corrupted.mp4", promised=50)


def assert_damaged_after(real, path, *, promised) -> None:
    truth = decode_sequentially(path)
    assert 0 < real == len(truth) < promised
    with open_video(path) as video:
        assert video.info.frames == promised
        with pytest.raises(DamagedVideo, match=rf"{path.name}: only {real} of {promised} ") as caught:
            video.read([0, promised - 1])
        assert caught.value.frames == video.info.frames == real
        assert np.array_equal(video.read(range(real)).numpy(), truth)
    assert probe(path, decode=True).frames == real
    assert np.array_equal(read_frames(path, range(real)).numpy(), truth)


def test_title_that_is_not_utf8_is_handled(clips, tmp_path):
    path = rewrite(clips("ucf.avi"), tmp_path / "title.avi", lambda packets: packets, title="TITLE")
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"\xe9T\xe9 1"))
    if int(av.__version__.split(".")[0]) < 19:
        with pytest.raises(VideoError, match=r"title\.avi: the metadata"):
            probe(path)
    else:
        assert_equals_sequential(path)


def test_errors_can_be_pickled():
    for error in (VideoError("a.mp4", "cause"), DamagedVideo("a.mp4", "cause", 3)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), "a.mp4: cause", vars(error))


def test_frames_have_shape_of_indices(clips):
    path = clips("groups_of_12.mp4")
    info = probe(path)
    assert (info.frames, info.fps, info.height, info.width) == (60, 25.0, 72, 104)
    frames = read_frames(path, torch.tensor([[0, 7], [7, 59]]))
    assert frames.dtype == torch.uint8
    assert frames.shape == (2, 2, 72, 104, 3)
    assert read_frames(path, 3).shape == (72, 104, 3)
    assert read_frames(path, []).shape == (0, 72, 104, 3)
    for wrong in ([60], [-1], [0, 1000]):
        with pytest.raises(
            ValueError, match=rf"groups_of_12\.mp4: no frame {wrong[-1]}; the video has 60 frames"
        ):
            read_frames(path, wrong)
    with pytest.raises(ValueError, match="integers"):
        read_frames(path, [0.5])


def test_file_that_is_no_video_is_rejected_with_cause(tmp_path):
    (tmp_path / "text.mp4").write_text("hello " * 100)
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    causes = {"text": "Invalid", "empty": "Invalid", "nowhere": "no such file", "sound": "no video stream"}
    for name, cause in causes.items():
        with pytest.raises(VideoError, match=rf"{name}\.mp4: {cause}[^\n]*$"):
            probe(tmp_path / f"{name}.mp4")


def test_file_names_with_ffmpeg_syntax_are_read(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("10:30.mp4", "%03d.mp4", "concat:a|b.mp4", "späť.mp4"):
        Path(name).write_bytes(clips("ucf.avi").read_bytes())
        assert probe(name).frames == 60


@pytest.mark.parametrize("suffix", ["jpg", "png", "JPEG"])
def test_folder_of_images_is_a_video(tmp_path, suffix):
    for number in range(1, 13):
        frame = av.VideoFrame.from_ndarray(draw_frame(number), format="rgb24")
        frame.save(str(tmp_path / "new.png") if suffix == "png" else str(tmp_path / "new.jpg"))
        next(tmp_path.glob("new.*")).rename(tmp_path / f"img_{number}.{suffix}")
    (tmp_path / "notes.txt").write_text("not a frame")
    frames = read_frames(tmp_path, [[11, 1], [0, 1]]).numpy()
    expected = [decode_sequentially(tmp_path / f"img_{number}.{suffix}")[0] for number in (12, 2, 1, 2)]
    assert np.array_equal(frames.reshape(4, 72, 104, 3), expected)
    if suffix == "png":
        assert np.array_equal(frames[0, 0], draw_frame(12))
    info = probe(tmp_path, decode=True)
    assert (info.frames, info.fps, info.height, info.width) == (12, None, 72, 104)


def test_invalid_folders_of_images_are_rejected(tmp_path):
    with pytest.raises(VideoError, match="without pictures"):
        probe(tmp_path)
    av.VideoFrame(32, 16, "rgb24").save(str(tmp_path / "1.png"))
    av.VideoFrame(32, 24, "rgb24").save(str(tmp_path / "2.png"))
    (tmp_path / "3.png").write_text("no picture")
    (tmp_path / "4.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    assert probe(tmp_path).frames == 4
    assert read_frames(tmp_path, [0, 1]).shape == (2, 16, 32, 3)
    for number in (2, 3):
        with pytest.raises(VideoError, match=rf"{number + 1}\.png: [^\n]+$"):
            read_frames(tmp_path, [number])
    with pytest.raises(VideoError, match=r"3\.png"):
        probe(tmp_path, decode=True)


def test_import_does_not_load_decoder():
    code = "import sys, tanet.video; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_data
@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_rotation_is_applied(turned):
    path = DATA / "clips" / "odd" / f"video_{turned}.mov"
    frames = read_frames(path, [0, 1, 2])
    info = probe(path)
    assert frames.shape == (3, info.height, info.width, 3)
    assert (info.height, info.width) == ((320, 568) if turned % 180 == 0 else (568, 320))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(frames[0].numpy(), np.rot90(stored, -turned // 90))


NO_VIDEOS = {
    **dict.fromkeys(["AudioVideoInterleave.avi", "WindowsMediaVideo.wmv", "gif.gif"], "no frames"),
    **dict.fromkeys(["Mpeg4.mp4", "mp4-with-audio.mp4"], "no video stream"),
    "FlashVideo.flv": "End of file",
    "typescript.ts": "Invalid data",
}


@pytest.mark.parametrize("path", sorted(DATA.glob("clips/odd/*")), ids=lambda path: path.name)
def test_real_odd_files_decode_or_fail_with_cause(path):
    if cause := NO_VIDEOS.get(path.name):
        with pytest.raises(VideoError, match=rf"{path.name}: {cause}"):
            probe(path)
        return
    truth = decode_sequentially(path)
    indices = random.Random(0).choices(range(len(truth)), k=8)
    assert np.array_equal(read_frames(path, indices[:1]).numpy(), truth[indices[:1]])
    assert np.array_equal(read_frames(path, indices).numpy(), truth[indices])


@needs_data
@pytest.mark.parametrize("pattern", ["decode/*/*.avi", "arrow6/val/*/*.mp4", "clips/action/*"])
def test_real_clips_equal_sequential_decoding(pattern):
    for path in sorted(DATA.glob(pattern))[::15][:3]:
        assert_equals_sequential(path)
