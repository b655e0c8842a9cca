"""Packing videos into shards, reading them back, reporting damage, and resuming a killed packing run."""

import dataclasses
import io
import json
import subprocess
import sys
import tarfile
import time
from unittest import mock

import av
import numpy as np
import pytest
import torch

from tanet import synthetic, train
from tanet.data.annotations import read_split, read_test_samples
from tanet.data.dataset import EpochSampler, EvalClips, TrainClips
from tanet.data.loader import ClipLoader
from tanet.data.samples import Sample
from tanet.data.shards.format import read_index
from tanet.data.shards.read import open_packed_video
from tanet.data.tools import encode as coding_module
from tanet.data.tools import pack as packing
from tanet.data.tools.encode import Encoding, encode
from tanet.data.tools.pack import pack
from tanet.data.transforms import resize_short_side
from tanet.recipes.recipe import Data, Eval
from tanet.video import VideoError, read_frames
from tests.support.fork_server import quick_pool as quick_pool
from tests.support.tiny_videos import TINY, make_folders

FRAMES, BITS = 40, 6
CODINGS = {"jpeg": Encoding("jpeg", short_side=48), "h264": Encoding("h264", short_side=48)}


def write_numbered_video(path):
    """Write a clip of 96 × 64 pixels whose frame i shows i in binary, as one bright or dark bar per digit."""
    frames = np.full((FRAMES, 64, 96, 3), 40, np.uint8)
    for number in range(FRAMES):
        for bit in range(BITS):
            if number >> bit & 1:
                frames[number, :, 16 * bit : 16 * bit + 16] = 215
    synthetic.write_video(path, frames)
    return path


def read_numbers(frames):
    """Read the number that each frame shows: frames [..., H, W, 3] → [...]."""
    bars = frames.float().mean((-3, -1)).unflatten(-1, (BITS, -1)).mean(-1) > 128
    return (bars * 2 ** torch.arange(BITS)).sum(-1)


def map_sequentially(work, paths, **_):
    """Replace `map_files` without starting processes, which would take longer than the tests themselves."""
    return ((path, work(path)) for path in paths)


def pack_folder(
    root, out, *, encoding=CODINGS["jpeg"], shard_size=10**9, data=None, map_files=map_sequentially
):
    """Pack a folder of class folders as `tanet data pack` does. Return the names and error causes."""
    split = read_split(data or Data(root=str(root), val_fraction=0.0))
    parts = {"train": split.train, "val": split.val} if split.val else {"videos": split.train}
    with mock.patch.object(packing, "map_files", map_files):
        return [
            answer
            for name, samples in parts.items()
            for answer in pack(
                samples,
                classes=split.classes,
                root=root,
                out=out,
                split=name,
                encoding=encoding,
                shard_size=shard_size,
                workers=2,
                limit=60,
            )
        ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("shards") / "videos")


@pytest.fixture(scope="module")
def shards(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    assert {cause for _, cause in pack_folder(folders, out, shard_size=40_000)} == {None}
    return out


@pytest.mark.parametrize("format", CODINGS)
def test_packed_frames_match_source(tmp_path, format):
    source = write_numbered_video(tmp_path / "videos" / "a" / "x.y.mp4")
    assert pack_folder(tmp_path / "videos", tmp_path / "out", encoding=CODINGS[format]) == [
        ("a/x.y.mp4", None)
    ]
    (row,), classes = read_index(tmp_path / "out" / "videos.index.json")
    assert (row.video, row.label, row.frames, classes) == ("a/x.y.mp4", 0, FRAMES, ("a",))
    with open_packed_video(row.shard_entry, name=row.video) as video:
        assert (video.info.frames, video.info.fps) == (FRAMES, 25.0)
        assert (video.info.height, video.info.width) == (48, 72)
        generator = np.random.default_rng(0)
        for shape in ((8,), (3, 5), (1,)):
            indices = generator.integers(FRAMES, size=shape)
            assert read_numbers(video.read(indices)).tolist() == indices.tolist()
        frames = video.read(range(FRAMES))
        with pytest.raises(ValueError, match="no frame 40"):
            video.read([FRAMES])
    expected = resize_short_side(read_frames(source, range(FRAMES)), 48)
    error = (frames.float() - expected.float()).abs()
    assert error.mean() < 2
    assert error.flatten(1).mean(1).max() < 4


def test_h264_has_key_frame_every_4_frames(tmp_path):
    write_numbered_video(tmp_path / "videos" / "a" / "x.mp4")
    pack_folder(tmp_path / "videos", tmp_path / "out", encoding=CODINGS["h264"])
    with tarfile.open(tmp_path / "out" / "videos-000000.tar") as tar:
        (mp4,) = (tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".mp4"))
    with av.open(io.BytesIO(mp4)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert len(keys) == FRAMES
    assert [at for at, key in enumerate(keys) if key] == list(range(0, FRAMES, 4))


def test_small_images_keep_their_size(tmp_path):
    folder = tmp_path / "videos" / "a" / "frames"
    folder.mkdir(parents=True)
    for number in range(3):
        codec = av.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt, codec.time_base = 33, 21, "rgb24", 1
        picture = np.full((21, 33, 3), 60 * number, np.uint8)
        (packet,) = codec.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        (folder / f"{number}.png").write_bytes(bytes(packet))
    for format, shape in (("jpeg", (21, 33)), ("h264", (20, 32))):
        out = tmp_path / format
        pack_folder(tmp_path / "videos", out, encoding=Encoding(format))
        (row,), _ = read_index(out / "videos.index.json")
        with open_packed_video(row.shard_entry, name=row.video) as video:
            frames = video.read(range(3))
        assert frames.shape == (3, *shape, 3)
        assert [round(float(frame.float().mean()) / 60) for frame in frames] == [0, 1, 2]


def test_long_video_is_encoded_in_chunks(tmp_path, monkeypatch):
    path = write_numbered_video(tmp_path / "x.mp4")
    whole = encode(path, encoding=Encoding(), counts={})
    monkeypatch.setattr(coding_module, "CHUNK", 1)
    assert encode(path, encoding=Encoding(), counts={}) == whole


def test_quality_and_crf_change_file_size(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 96, 3), dtype=np.uint8)
    synthetic.write_video(tmp_path / "x.mp4", noise)
    for fine, coarse in (
        (Encoding(quality=95), Encoding(quality=60)),
        (Encoding("h264", crf=10), Encoding("h264", crf=40)),
    ):
        coded = [encode(tmp_path / "x.mp4", encoding=encoding, counts={}) for encoding in (fine, coarse)]
        sizes = [sum(map(len, video.parts)) for video in coded]
        assert sizes[0] > 1.5 * sizes[1]
    for wrong in ({"quality": 0}, {"crf": 52}, {"short_side": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be in"):
            Encoding(**wrong)


def test_packed_folder_gives_same_splits_and_clips(folders, shards):
    data = Data(root=str(folders), sampling="uniform", resize=0, size=24)
    here, there = read_split(data), read_split(Data(root=str(shards)))
    assert there.classes == here.classes
    for own, other in ((here.train, there.train), (here.val, there.val)):
        assert [sample.label for sample in own] == [sample.label for sample in other]
        for a, b in zip(own, other, strict=True):
            assert a.path.removeprefix(str(folders)) == b.path.removeprefix(str(shards))
    assert read_test_samples(Data(root=str(shards)), classes=there.classes) == there.val
    # The same seed gives the same random choices; the frames differ only by their encoding.
    one, two = (
        TrainClips(split.train, data, frames=4, classes=split.classes, seed=3) for split in (here, there)
    )
    for key in range(16):
        assert one[key][1] == two[key][1]
        assert (one[key][0].float() - two[key][0].float()).abs().mean() < 6
    eval = Eval(clips=2, crops=3, resize=32, size=32)
    views, label, _ = EvalClips(there.val, data, eval, frames=4)[3]
    assert views.shape == (6, 4, 3, 32, 32)
    assert label == 1


def test_packed_folder_without_split_has_same_validation_videos(folders, tmp_path):
    pack_folder(folders / "train", tmp_path)
    here, there = (
        read_split(Data(root=str(root), val_fraction=0.4)) for root in (folders / "train", tmp_path)
    )
    for own, other in ((here.train, there.train), (here.val, there.val)):
        assert [s.path.rsplit("/", 2)[1:] for s in own] == [s.path.rsplit("/", 2)[1:] for s in other]
    assert here.val


def test_quarantine_list_applies_to_shards(folders, shards, tmp_path):
    (tmp_path / "bad.txt").write_text("train/move_left/1.mp4\n")
    split = read_split(Data(root=str(shards), quarantine=str(tmp_path / "bad.txt")))
    assert len(split.train) == 7
    assert not any(
        sample.path.endswith("move_left/1.mp4") and "train" in sample.path for sample in split.train
    )


def test_number_of_frames_in_list_is_kept(tmp_path):
    write_numbered_video(tmp_path / "x.mp4")
    (tmp_path / "list.txt").write_text("x.mp4 10 0\n")
    data = Data(train=str(tmp_path / "list.txt"))
    pack_folder(tmp_path, tmp_path / "out", data=data)
    (sample,) = read_split(Data(root=str(tmp_path / "out"), val_fraction=0.0)).train
    assert sample.frames == 10
    (tmp_path / "list.txt").write_text("x.mp4 41 0\n")
    ((_, cause),) = pack_folder(tmp_path, tmp_path / "again", data=data)
    assert cause == "the list states 41 frames, but the video has 40"


def test_tarfile_reads_shard(shards):
    rows, _ = read_index(shards / "train.index.json")
    heads = {}
    for shard in sorted(shards.glob("train-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, field = member.name.split(".", 1)
                if field == "json":
                    heads[key] = json.load(tar.extractfile(member))
                    last, at = key, 0
                else:
                    assert (key, field) == (last, f"{at:06d}.jpg")  # the files of a sample are adjacent
                    assert tar.extractfile(member).read(2) == b"\xff\xd8"
                    at += 1
                    assert at <= heads[key]["frames"]
    assert len(list(shards.glob("train-*.tar"))) > 1
    assert {head["video"] for head in heads.values()} == {row.video for row in rows}
    assert {(h["class"], h["label"]) for h in heads.values()} == {("move_left", 0), ("move_right", 1)}


def test_webdataset_reads_shard(shards):
    webdataset = pytest.importorskip("webdataset")
    urls = [str(shard) for shard in sorted(shards.glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == 8
    for sample in samples:
        head = json.loads(sample["json"])
        pictures = [field for field in sample if field.endswith(".jpg")]
        assert pictures == [f"{number:06d}.jpg" for number in range(head["frames"])]


def test_two_ranks_with_two_workers_read_each_sample_once(shards):
    data = Data(root=str(shards), sampling="uniform", resize=0, size=24, workers=2, flip="none")
    split = read_split(data)
    # Every sample gets its own label, so that the labels of a batch identify its samples.
    samples = [Sample(s.path, i, s.frames, s.shard_entry) for i, s in enumerate(split.train)]
    seen = []
    for rank in (0, 1):
        clips = TrainClips(samples, data, frames=4, classes=[str(i) for i in range(8)])
        order = EpochSampler(len(clips), seed=0, rank=rank, world_size=2)
        with ClipLoader(clips, batch=2, data=data, order=order) as loader:
            seen += [int(label) for batch in loader for label in batch.labels]
    assert sorted(seen) == list(range(8))


def test_damage_in_shard_loses_only_its_sample(folders, tmp_path):
    out = tmp_path / "out"
    pack_folder(folders, out)
    data = Data(root=str(out), sampling="uniform", resize=0, size=24, workers=0)
    split = read_split(data)
    shard = out / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    first, second = (split.train[i].shard_entry for i in (0, 1))
    content[first.offset + 5] ^= 1  # the tar header of the first sample
    # The images of the second sample.
    content[second.offset + 3 * 512 + 100 : second.offset + 12_000] = bytes(11_900 - 3 * 512)
    shard.write_bytes(content)
    clips = TrainClips(split.train, data, frames=12, classes=split.classes)
    told = []
    with ClipLoader(
        clips, batch=2, data=Data(workers=0, max_bad=0.5), order=EpochSampler(8, seed=0), on_event=told.append
    ) as loader:
        assert sum(len(batch.labels) for batch in loader) == 6
    lines = sorted(str(video.error) for video in told)
    assert len(lines) == 2
    for line, sample in zip(lines, split.train, strict=False):
        assert line.startswith(f"{shard}: {sample.path}")
        assert line.endswith("the shard is damaged here")
    shard.write_bytes(content[: second.offset])
    assert any(isinstance(clips[i], VideoError) and "cut short" in str(clips[i]) for i in range(8))
    shard.unlink()
    with pytest.raises(ValueError, match=r"train\.index\.json: no such shard .*train-000000\.tar"):
        read_split(data)


def test_invalid_index_is_rejected(tmp_path):
    index = tmp_path / "train.index.json"
    for text in (
        "",
        "[]",
        "{}",
        '{"version": 2, "samples": [], "classes": []}',
        '{"version": 1, "samples": 3}',
    ):
        index.write_text(text)
        with pytest.raises(ValueError, match=r"train\.index\.json: not an index of shards"):
            read_split(Data(root=str(tmp_path)))


def test_splits_with_different_classes_are_rejected(folders, tmp_path):
    pack_folder(folders, tmp_path)
    values = json.loads((tmp_path / "val.index.json").read_text())
    (tmp_path / "val.index.json").write_text(json.dumps({**values, "classes": ["b", "a"]}))
    with pytest.raises(ValueError, match="have different classes: pack both with the same --class-names"):
        read_split(Data(root=str(tmp_path)))


def test_killed_packing_resumes(folders, tmp_path):
    """After kill -9, complete shards stay and the next run packs the rest, without duplicates."""
    out = tmp_path / "out"
    command = ["-c", "from tanet.cli import main; import sys; sys.exit(main())", "data", "pack", str(folders)]
    flags = [str(out), "--workers", "1", "--shard-size", "0.02"]
    process = subprocess.Popen([sys.executable, *command, *flags], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("train-*.tar")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = {shard: shard.read_bytes() for shard in out.glob("train-*.tar")}
    assert kept
    if not (out / "train.index.json").exists():  # the run may have finished before it was killed
        with pytest.raises(ValueError, match="no class folders"):
            read_split(Data(root=str(out)))
    answers = pack_folder(folders, out, encoding=Encoding(), shard_size=20_000)
    assert sorted(name for name, _ in answers) == sorted(
        f"{split}/{verb}/{i}.mp4"
        for split, count in (("train", 4), ("val", 2))
        for verb in ("move_left", "move_right")
        for i in range(count)
    )
    assert all(shard.read_bytes() == content for shard, content in kept.items())
    assert not list(out.glob(".*"))
    rows, _ = read_index(out / "train.index.json")
    assert len({row.video for row in rows}) == 8
    split = read_split(Data(root=str(out)))
    for sample in split.train:
        with open_packed_video(sample.shard_entry, name=sample.path) as video:
            assert len(video.read(range(12))) == 12


def test_second_run_packs_only_new_videos(folders, tmp_path):
    make_folders(tmp_path / "videos", train=2, val=1)
    pack_folder(tmp_path / "videos", tmp_path / "out")
    (tmp_path / "videos/train/move_left/9.mp4").write_bytes((folders / "train/move_left/3.mp4").read_bytes())
    (tmp_path / "videos/train/move_right/0.mp4").unlink()
    asked = []

    def ask(work, paths, **_):
        asked.extend(path.name for path in paths)
        return map_sequentially(work, paths)

    pack_folder(tmp_path / "videos", tmp_path / "out", map_files=ask)
    assert asked == ["9.mp4"]
    here, there = (read_split(Data(root=str(tmp_path / name))) for name in ("videos", "out"))
    assert [s.path.rsplit("/", 3)[1:] for s in here.train] == [s.path.rsplit("/", 3)[1:] for s in there.train]
    with pytest.raises(ValueError, match="was packed with another encoding or label: remove the shard"):
        pack_folder(tmp_path / "videos", tmp_path / "out", encoding=Encoding(quality=50))
    shard = tmp_path / "out" / "train-000000.tar"
    shard.write_bytes(b"x" * 4096)
    with pytest.raises(ValueError, match=r"train-000000\.tar: damaged, or not a shard of tanet"):
        pack_folder(tmp_path / "videos", tmp_path / "out")


def test_bad_and_duplicate_videos_are_reported(tmp_path):
    make_folders(tmp_path / "videos", train=1, val=1)
    (tmp_path / "videos/val/move_left/b.mp4").write_bytes(b"an error page")
    answers = dict(pack_folder(tmp_path / "videos", tmp_path / "out"))
    assert [name for name, cause in answers.items() if cause] == ["val/move_left/b.mp4"]
    assert answers["val/move_left/b.mp4"].startswith("Invalid data")
    assert len(read_split(Data(root=str(tmp_path / "out"))).val) == 2
    (tmp_path / "list.csv").write_text("path,label\ntrain/move_left/0.mp4,a\ntrain/move_left/0.mp4,b\n")
    data = Data(root=str(tmp_path / "videos"), train=str(tmp_path / "list.csv"))
    with pytest.raises(ValueError, match="1 videos are listed more than once"):
        pack_folder(tmp_path / "videos", tmp_path / "other", data=data)


def test_training_reads_shards(shards, tmp_path):
    recipe = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, root=str(shards)))
    assert train(recipe, out=tmp_path, device="cpu").is_file()
