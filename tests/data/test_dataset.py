"""The datasets return views, labels and bad files. Random choices depend only on seed, epoch and index."""

import dataclasses

import numpy as np
import pytest
import torch

from tanet import synthetic
from tanet.data.annotations import read_split
from tanet.data.dataset import EpochSampler, EvalClips, TrainClips
from tanet.data.gpu_transforms import DeferredViews, make_views
from tanet.data.loader import ClipLoader
from tanet.data.samples import Sample
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.recipes.recipe import Data, Eval
from tanet.video import FrameArray, VideoError
from tests.support.tiny_videos import make, make_folders

DATA = Data(sampling="uniform", resize=0, size=24, workers=0)
EVAL = Eval(clips=2, crops=3, resize=32, size=32)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return read_split(Data(root=str(make_folders(tmp_path_factory.mktemp("videos")))))


def load_epoch(split, number, *, workers=0, seed=0):
    clips = TrainClips(split.train, DATA, frames=4, classes=split.classes, seed=seed)
    order = EpochSampler(len(clips), seed=seed)
    order.epoch = number
    feed = ClipLoader(clips, batch=4, data=dataclasses.replace(DATA, workers=workers), order=order)
    return [part for batch in feed for part in zip(batch.views, batch.labels, strict=True)]


def test_training_views_have_shape_and_labels(split):
    items = load_epoch(split, 0)
    assert len(items) == 8
    for view, _ in items:
        assert view.shape == (4, 3, 24, 24)
        assert view.dtype == torch.uint8
    assert sorted(int(label) for _, label in items) == [0] * 4 + [1] * 4


def test_views_do_not_depend_on_workers(split):
    for one, two in zip(load_epoch(split, 1), load_epoch(split, 1, workers=2), strict=True):
        assert torch.equal(one[0], two[0])
        assert one[1] == two[1]


def test_views_made_on_device_equal_views_of_workers(split, tmp_path):
    samples = [*split.train]
    for number, (height, width) in enumerate(((64, 48), (40, 40), (36, 70))):
        path = tmp_path / f"{number}.mp4"
        clip = synthetic.render(
            "move_up", frames=6, height=height, width=width, generator=np.random.default_rng(number)
        )
        synthetic.write_video(path, clip)
        samples.append(Sample(str(path), 1))
    for flip, resize, short_sides in (("mirror", 0, ()), ("plain", 48, ()), ("plain", 0, (26, 40))):
        data = Data("", resize=resize, size=24, short_sides=short_sides, flip=flip, workers=0)
        raw = dataclasses.replace(data, transform_on="device")
        made, left = (TrainClips(samples, d, frames=4, classes=split.classes, seed=5) for d in (data, raw))
        for key in range(4 * len(samples)):
            (view, label, _), (pixels, same, _) = made[key], left[key]
            assert isinstance(pixels, DeferredViews)
            assert torch.equal(make_views(pixels)[0], view.float())
            assert label == same


def test_views_from_shards_are_same_on_device_and_workers(tmp_path):
    folders, shards = make_folders(tmp_path / "videos", train=2, val=1), tmp_path / "shards"
    whole = read_split(Data(root=str(folders)))
    done = pack(
        whole.train,
        classes=whole.classes,
        root=folders,
        out=shards,
        split="train",
        encoding=Encoding("jpeg"),
        shard_size=10**9,
        workers=1,
        limit=60,
    )
    assert [cause for _, cause in done] == [None] * 4
    packed = read_split(Data(root=str(shards)))
    assert all(sample.shard_entry for sample in packed.train)
    made, left = (
        TrainClips(
            packed.train, dataclasses.replace(DATA, transform_on=who), frames=4, classes=packed.classes
        )
        for who in ("workers", "device")
    )
    for key in range(8):
        assert torch.equal(make_views(left[key][0])[0], made[key][0].float())
        assert left[key][1] == made[key][1]


def test_views_depend_on_epoch_and_seed(split):
    first = torch.stack([view for view, _ in load_epoch(split, 0)])
    assert torch.equal(first, torch.stack([view for view, _ in load_epoch(split, 0)]))
    assert not torch.equal(first, torch.stack([view for view, _ in load_epoch(split, 1)]))
    assert not torch.equal(first, torch.stack([view for view, _ in load_epoch(split, 0, seed=1)]))


def test_epoch_contains_every_video_once():
    order = EpochSampler(10, seed=0)
    for number in (0, 3):
        order.epoch = number
        assert sorted(order) == list(range(10 * number, 10 * number + 10))


def test_mirror_swaps_left_and_right_labels(split):
    data = Data(sampling="uniform", resize=0, size=24, flip="mirror")
    clips = TrainClips(split.train, data, frames=4, classes=split.classes)
    plain = TrainClips(split.train, DATA, frames=4, classes=split.classes)
    mirrored = 0
    for key in range(80):
        (view, label, _), (other, own, _) = clips[key], plain[key]
        assert torch.equal(view, other)  # both draw the same flip
        assert own == split.train[key % 8].label
        mirrored += label != own
    assert 20 < mirrored < 60


def test_evaluation_views_have_shape_and_label(split):
    views, label, _ = EvalClips(split.val, DATA, EVAL, frames=4)[0]
    assert views.shape == (6, 4, 3, 32, 32)
    assert label == 0


def test_frame_rate_of_video_sets_length_of_training_clip(tmp_path):
    class Seen(FrameArray):
        def read(self, indices):
            seen.append(list(indices))
            return super().read(indices)

    data = Data(sampling="dense", window=16, rate="30fps", size=8, resize=8, workers=0)
    clips = TrainClips([Sample("a", 0)], data, frames=4, classes=["a"])
    for fps, length in ((15.0, 8), (30.0, 16), (None, 16)):
        seen = []
        with pytest.MonkeyPatch.context() as patch:
            video = Seen(np.zeros((16, 8, 8, 3), np.uint8))
            video.fps = fps
            patch.setattr("tanet.data.streams.open_video", lambda _, video=video: video)
            for key in range(20):
                clips[key]
        spans = {last - first for first, *_, last in seen}
        assert spans <= {length - 1, length - 2}  # a fractional start can lose a frame
        assert len(seen) == 20


def test_short_sides_set_size_of_training_crop(split):
    data = Data(sampling="uniform", size=24, short_sides=(26, 40), flip="none", workers=0)
    clips = TrainClips(split.train, data, frames=4, classes=split.classes)
    views = [clips[key][0] for key in range(8)]
    assert {tuple(view.shape) for view in views} == {(4, 3, 24, 24)}
    for key, view in enumerate(views):
        assert torch.equal(view, clips[key][0])
    assert not torch.equal(views[0], clips[8][0])  # the same video in the next epoch


def test_bad_file_is_returned_as_error_with_its_path(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    samples = [Sample(str(bad), 0)]
    for clips in (
        EvalClips(samples, DATA, EVAL, frames=4),
        TrainClips(samples, DATA, frames=4, classes=["a"]),
    ):
        assert isinstance(error := clips[0], VideoError)
        assert str(error).startswith(f"{bad}: ")


def test_number_of_frames_in_list_limits_clip(tmp_path):
    path = str(make(tmp_path / "a.mp4", frames=12))
    clips = EvalClips([Sample(path, 0, 4), Sample(path, 0, 12), Sample(path, 0)], DATA, EVAL, frames=4)
    short, whole, unstated = (clips[i][0] for i in range(3))
    assert torch.equal(whole, unstated)
    assert not torch.equal(short, whole)
    assert isinstance(EvalClips([Sample(path, 0, 13)], DATA, EVAL, frames=4)[0], VideoError)


def test_order_is_seeded_numpy_permutation():
    order = EpochSampler(5, seed=7)
    order.epoch = 2
    assert list(order) == (10 + np.random.default_rng((7, 2)).permutation(5)).tolist()
