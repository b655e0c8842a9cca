"""Decoding: frame i is the i-th picture of sequential decoding, bit for bit, whatever the file is like."""

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
    EDITED,
    begin_with_frame_17,
    content,
    encode,
    not_coded,
    rewrite,
    sequential,
)

DATA = Path(os.environ.get("TANET_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data (TANET_DATA)")


def assert_equals_sequential(path) -> None:
    truth = sequential(path)
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
    """Encodes a clip when a test first asks for it."""
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
def test_headers_tell_what_probing_finds(clips, name):
    with open_video(clips(name)) as video, av.open(str(clips(name))) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        index = PacketIndex.of(PacketTable.of(packets), stream.codec_context, container=container.format.name)
        assert video.fps == float(stream.average_rate)
        assert video._index == index
        # In Matroska nothing tells how long pictures wait; what has no index is decoded as it was probed.
        told = name in ("hevc.mp4", "vp9.webm") or (name.endswith(".mp4") and stream.name == "h264")
        assert video._probed == (index is None or not told)


def test_delay_counts_the_pictures_that_are_decoded_before_one_but_shown_after_it():
    codec = SimpleNamespace(name="h264", field_order=1, has_b_frames=True)
    for seed in range(20):
        times = np.concatenate([[-1], np.random.default_rng(seed).permutation(12)])
        none = np.zeros(13, bool)
        index = PacketIndex.of(
            PacketTable(times, times, times, times < 0, none), codec, container=STORES_TIMES[0]
        )
        assert index
        assert index.delay == max((times[:at] > time).sum() for at, time in enumerate(times))


def test_each_frame_is_decoded_once_and_only_groups_that_are_wanted(clips):
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
    assert len(whole) == 4  # the others are decoded only if something refers to them


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_variable_frame_rate_and_late_start(tmp_path, container):
    times = list(np.cumsum(np.random.default_rng(0).integers(1, 9, 60)) + 500)
    path = encode(tmp_path / f"vfr.{container}", *CLIPS["groups_of_12.mp4"], times=map(int, times))
    assert_equals_sequential(path)


@pytest.mark.parametrize("name", ["one_group.mp4", "b_frames.mp4", "no_b_frames.mp4", "hevc.mp4", "ucf.avi"])
def test_key_flags_that_lie(clips, name):
    truth = sequential(clips(name))
    for number in range(1, 60, 7):
        with open_video(clips(name)) as video:
            assert video._index
            every = list(range(60))  # as if each packet said that it is a key
            video._index = replace(video._index, start=every)
            assert np.array_equal(video.read([number, 59]).numpy(), truth[[number, 59]])


@pytest.mark.parametrize("name", ["groups_of_12.mp4", "open_groups.mkv"])
@pytest.mark.parametrize("first", [1, 5])
def test_start_that_was_cut_off(clips, tmp_path, name, first):
    path = rewrite(clips(name), tmp_path / f"cut_{name}", lambda packets: packets[first:])
    assert_equals_sequential(path)


def test_edit_list(clips, tmp_path):
    path = rewrite(clips("groups_of_12.mp4"), tmp_path / "edited.mp4", begin_with_frame_17, options=EDITED)
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    assert_equals_sequential(path)
    assert np.array_equal(sequential(path), sequential(clips("groups_of_12.mp4"))[17:])


@pytest.mark.parametrize("numbers", [(7,), (1, 20, 21, 40), (59,), (58, 59)])
def test_pictures_that_are_marked_as_not_coded(clips, tmp_path, numbers):
    path = rewrite(clips("ucf.avi"), tmp_path / "not_coded.avi", not_coded(*numbers))
    assert_equals_sequential(path)
    with open_video(path) as video:
        assert (video._index is None) == (59 in numbers)  # at the end the decoder repeats the last picture


def packets_of(path, stream=0):
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=stream) if packet.size]
        return [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]


@pytest.mark.parametrize("name", ["ucf.avi", "with_sound.avi"])
def test_the_index_of_an_avi_file_gives_the_packets_of_the_demuxer(clips, tmp_path, name):
    path = clips("ucf.avi") if name == "ucf.avi" else with_sound(clips("ucf.avi"), tmp_path / name)
    with open_video(path) as video:
        assert isinstance(video._packets, AviPackets)
        found = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in video._packets]
    assert found == packets_of(path)
    assert_equals_sequential(path)


def with_sound(source, target):
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        pictures = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("pcm_s16le", rate=8000, layout="mono")
        for packet in [packet for packet in old.demux(video=0) if packet.size]:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), format="s16", layout="mono")
            frame.rate, frame.pts = 8000, 320 * packet.pts
            packet.stream = pictures
            new.mux([packet, *sound.encode(frame)])
    return target


def test_an_avi_index_that_is_wrong_is_not_believed(clips, tmp_path):
    data = clips("ucf.avi").read_bytes()
    with av.open(str(clips("ucf.avi"))) as container:
        places = [entry.pos for entry in container.streams.video[0].index_entries]
    table = data.rindex(b"idx1") + 8
    entry = data.index(b"00dc", table + 16 * 30)  # name, flags, place, size
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
def test_an_avi_file_with_a_picture_that_is_shown_earlier_is_demuxed(clips, number):
    data = bytearray(clips("ucf.avi").read_bytes())
    with av.open(str(clips("ucf.avi"))) as container:
        entry = container.streams.video[0].index_entries[number]
    start = data.index(b"\x00\x00\x01\xb6", entry.pos) + 4
    assert (start > entry.pos + 12) == (number % 12 == 0)  # some have headers before them
    data[start] = data[start] & 0x3F | 2 << 6  # its type: bidirectional
    with open_video(bytes(data)) as video:
        assert not isinstance(video._packets, AviPackets)


@pytest.mark.parametrize("name", ["groups_of_12.mp4", "ucf.avi", "vp9.webm", "h264.ts"])
def test_bytes_read_as_the_file_does(clips, name):
    data = clips(name).read_bytes()
    with open_video(data) as video:
        assert video.info == probe(clips(name))
        assert torch.equal(video.read([59, 3, 30]), read_frames(clips(name), [59, 3, 30]))
    with pytest.raises(VideoError, match=r"^video in memory: Invalid data"):
        open_video(b"no video")
    with pytest.raises(VideoError, match=r"^train-0001\.tar/7\.mp4: Invalid data"):
        open_video(b"no video", name="train-0001.tar/7.mp4")


def test_what_is_opened_anew_is_closed_before(clips):
    """Else it stays open, with its memory, until Python collects cycles."""
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
def test_file_cut_short_has_the_frames_that_are_left(clips, tmp_path, name, part):
    first = {"movflags": "faststart"} if name.endswith("mp4") else {}
    whole = rewrite(clips(name), tmp_path / f"whole_{name}", lambda packets: packets, options=first)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    truth = sequential(path)
    real = probe(path, decode=True).frames
    assert 0 < real == len(truth) < 60
    # Of the last picture only half may be left: what that shows is anybody's guess.
    assert np.array_equal(read_frames(path, range(real)).numpy()[:-1], truth[:-1])


def test_damage_is_named_and_what_is_left_can_be_read(clips, tmp_path):
    path = tmp_path / "damaged.mp4"
    data = bytearray(clips("one_group.mp4").read_bytes())
    with av.open(str(clips("one_group.mp4"))) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][30]
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    assert_keeps_its_promise_only_to(len(sequential(path)), path, promised=60)


@needs_data
def test_corrupted_file_of_the_corpus():
    assert_keeps_its_promise_only_to(28, DATA / "clips" / "odd" / "corrupted.mp4", promised=50)


def assert_keeps_its_promise_only_to(real, path, *, promised) -> None:
    truth = sequential(path)
    assert 0 < real == len(truth) < promised
    with open_video(path) as video:
        assert video.info.frames == promised
        with pytest.raises(DamagedVideo, match=rf"{path.name}: only {real} of {promised} ") as caught:
            video.read([0, promised - 1])
        assert caught.value.frames == video.info.frames == real
        assert np.array_equal(video.read(range(real)).numpy(), truth)
    assert probe(path, decode=True).frames == real
    assert np.array_equal(read_frames(path, range(real)).numpy(), truth)


def test_title_that_is_not_utf8(clips, tmp_path):
    path = rewrite(clips("ucf.avi"), tmp_path / "title.avi", lambda packets: packets, title="TITLE")
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"\xe9T\xe9 1"))
    if int(av.__version__.split(".")[0]) < 19:
        with pytest.raises(VideoError, match=r"title\.avi: metadata"):
            probe(path)
    else:
        assert_equals_sequential(path)


def test_errors_survive_the_way_from_a_worker():
    for error in (VideoError("a.mp4", "cause"), DamagedVideo("a.mp4", "cause", 3)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), "a.mp4: cause", vars(error))


def test_shapes_and_indices(clips):
    path = clips("groups_of_12.mp4")
    info = probe(path)
    assert (info.frames, info.fps, info.height, info.width) == (60, 25.0, 72, 104)
    frames = read_frames(path, torch.tensor([[0, 7], [7, 59]]))
    assert frames.dtype == torch.uint8
    assert frames.shape == (2, 2, 72, 104, 3)
    assert read_frames(path, 3).shape == (72, 104, 3)
    assert read_frames(path, []).shape == (0, 72, 104, 3)
    for wrong in ([60], [-1], [0, 1000]):
        with pytest.raises(ValueError, match=rf"groups_of_12\.mp4: no frame {wrong[-1]}, there are 60"):
            read_frames(path, wrong)
    with pytest.raises(ValueError, match="integers"):
        read_frames(path, [0.5])


def test_what_is_no_video_is_named(tmp_path):
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


def test_names_that_ffmpeg_would_take_for_something_else(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("10:30.mp4", "%03d.mp4", "concat:a|b.mp4", "späť.mp4"):
        Path(name).write_bytes(clips("ucf.avi").read_bytes())
        assert probe(name).frames == 60


@pytest.mark.parametrize("suffix", ["jpg", "png", "JPEG"])
def test_folder_of_pictures(tmp_path, suffix):
    for number in range(1, 13):
        frame = av.VideoFrame.from_ndarray(content(number), format="rgb24")
        frame.save(str(tmp_path / "new.png") if suffix == "png" else str(tmp_path / "new.jpg"))
        next(tmp_path.glob("new.*")).rename(tmp_path / f"img_{number}.{suffix}")
    (tmp_path / "notes.txt").write_text("not a frame")
    frames = read_frames(tmp_path, [[11, 1], [0, 1]]).numpy()
    expected = [sequential(tmp_path / f"img_{number}.{suffix}")[0] for number in (12, 2, 1, 2)]
    assert np.array_equal(frames.reshape(4, 72, 104, 3), expected)
    if suffix == "png":
        assert np.array_equal(frames[0, 0], content(12))
    info = probe(tmp_path, decode=True)
    assert (info.frames, info.fps, info.height, info.width) == (12, None, 72, 104)


def test_folders_that_are_no_video(tmp_path):
    with pytest.raises(VideoError, match="without pictures"):
        probe(tmp_path)
    av.VideoFrame(32, 16, "rgb24").save(str(tmp_path / "1.png"))
    av.VideoFrame(32, 24, "rgb24").save(str(tmp_path / "2.png"))
    (tmp_path / "3.png").write_text("no picture")
    (tmp_path / "4.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    assert probe(tmp_path).frames == 4
    with pytest.raises(VideoError, match=r"2\.png: a frame of \(24, 32\) pixels, .* \(16, 32\)"):
        read_frames(tmp_path, [0, 1])
    for number in (2, 3):
        with pytest.raises(VideoError, match=rf"{number + 1}\.png: [^\n]+$"):
            read_frames(tmp_path, [number])
    with pytest.raises(VideoError, match=r"2\.png"):
        probe(tmp_path, decode=True)


def test_importing_loads_no_decoder():
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
def test_odd_files_of_the_corpus(path):
    if cause := NO_VIDEOS.get(path.name):
        with pytest.raises(VideoError, match=rf"{path.name}: {cause}"):
            probe(path)
        return
    truth = sequential(path)
    indices = random.Random(0).choices(range(len(truth)), k=8)
    assert np.array_equal(read_frames(path, indices[:1]).numpy(), truth[indices[:1]])
    assert np.array_equal(read_frames(path, indices).numpy(), truth[indices])


@needs_data
@pytest.mark.parametrize("pattern", ["decode/*/*.avi", "arrow6/val/*/*.mp4", "clips/action/*"])
def test_real_clips_of_the_corpus(pattern):
    for path in sorted(DATA.glob(pattern))[::15][:3]:
        assert_equals_sequential(path)
