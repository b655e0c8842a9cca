"""ClipLoader gives full, ordered batches despite bad files, and reports workers that hang or die."""

import gc
import os
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import _utils as torch_loader

from tanet import synthetic
from tanet.data import streams
from tanet.data.dataset import EpochSampler, EvalClips, TrainClips, epoch_keys
from tanet.data.gpu_transforms import DeferredViews, make_views
from tanet.data.loader import ClipLoader
from tanet.data.samples import Sample
from tanet.recipes.recipe import Data, Eval
from tanet.runtime.events import ignore
from tanet.video import VideoError
from tests.support.tiny_videos import make

VIDEOS = 40
BAD = (7, 31)  # 5 %
GOOD = sorted(set(range(VIDEOS)) - set(BAD))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Videos labelled by their own number, so that the labels of a batch identify its videos."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        make(folder / f"{number}.mp4", frames=4, seed=number)
    (folder / f"{BAD[0]}.mp4").write_bytes(b"an error page")
    (folder / f"{BAD[1]}.mp4").unlink()
    return [Sample(str(folder / f"{number}.mp4"), number) for number in range(VIDEOS)]


@pytest.fixture(autouse=True)
def short_wait_for_workers(monkeypatch):
    """PyTorch waits five seconds for a worker that does not end, before it ends the worker."""
    monkeypatch.setattr(torch_loader, "MP_STATUS_CHECK_INTERVAL", 0.5)


def make_loader(samples, *, batch, workers=0, rank=0, world_size=1, on_event=ignore, **fields):
    data = Data(sampling="uniform", resize=0, size=24, flip="none", workers=workers, **fields)
    clips = TrainClips(samples, data, frames=2, classes=[sample.path for sample in samples])
    order = EpochSampler(len(samples), seed=0, rank=rank, world_size=world_size)
    return ClipLoader(clips, batch=batch, data=data, order=order, on_event=on_event)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transform_on", ["workers", "device"])
def test_epoch_with_bad_files_has_full_batches_of_all_good_videos(
    samples, tmp_path, monkeypatch, workers, transform_on
):
    opened, really = tmp_path / "opened.txt", streams.open_video

    def open_and_log(path):
        with opened.open("a") as file:
            file.write(f"{path}\n")
        return really(path)

    monkeypatch.setattr(streams, "open_video", open_and_log)
    told = []
    loader = make_loader(samples, batch=19, workers=workers, on_event=told.append, transform_on=transform_on)
    for epoch in (0, 1):
        loader.order.epoch = epoch
        with loader:
            batches = list(loader)
        # Full batches, although each one met a bad video.
        assert [len(batch.labels) for batch in batches] == [19, 19]
        seen = torch.cat([batch.labels for batch in batches]).tolist()
        assert sorted(seen) == GOOD
        assert seen == [key % VIDEOS for key in loader.order if key % VIDEOS not in BAD]
    assert sorted(opened.read_text().split()) == sorted([sample.path for sample in samples] * 2)
    assert sorted(video.number for video in told) == list(BAD)  # reported once, not once per epoch
    assert all(str(video.error).startswith(samples[video.number].path) for video in told)
    assert sorted(loader.bad) == list(BAD)


def test_views_match_labels_and_do_not_depend_on_workers(samples):
    one, two = (list(make_loader(samples, batch=8, workers=workers)) for workers in (0, 2))
    assert len(one) == len(GOOD) // 8
    clips = make_loader(samples, batch=8).clips
    for batch, other in zip(one, two, strict=True):
        assert torch.equal(batch.views, other.views)
        assert torch.equal(batch.labels, other.labels)
        # In epoch 0 the keys are the video numbers.
        assert batch.keys == other.keys == tuple(batch.labels.tolist())
        for view, key in zip(batch.views, batch.keys, strict=True):
            assert torch.equal(view, clips[key][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_device_makes_same_batches_from_videos_of_different_sizes(samples, tmp_path, workers):
    samples = list(samples)
    for number in (2, 11, 30):
        clip = synthetic.render(
            "appear", frames=4, height=40 + number // 2 * 2, width=64, generator=np.random.default_rng(number)
        )
        synthetic.write_video(tmp_path / f"{number}.mp4", clip)
        samples[number] = Sample(str(tmp_path / f"{number}.mp4"), number)
    one, two = (
        list(make_loader(samples, batch=9, workers=workers, transform_on=place))
        for place in ("workers", "device")
    )
    assert len(one) == len(GOOD) // 9
    for batch, deferred in zip(one, two, strict=True):
        assert isinstance(deferred.views, DeferredViews)
        assert torch.equal(make_views(deferred.views), batch.views.float())
        assert torch.equal(batch.labels, deferred.labels)


def test_incomplete_batch_is_kept_only_if_it_is_the_only_one(samples):
    (batch,) = make_loader(samples, batch=VIDEOS)
    assert sorted(batch.labels.tolist()) == GOOD
    assert [len(batch.labels) for batch in make_loader(samples, batch=30)] == [30]


def test_strict_mode_stops_at_first_bad_file(samples):
    for workers in (0, 1):
        with pytest.raises(VideoError, match=r"^.*/(7|31)\.mp4: [^\n]+$"):
            list(make_loader(samples, batch=4, workers=workers, bad_files="strict"))


def test_too_many_bad_files_stop_epoch(samples):
    assert len(list(make_loader(samples, batch=19, max_bad=0.05))) == 2
    with pytest.raises(ValueError, match=r"2 of 40 videos cannot be read, more than .* 0\.04 .*mp4: "):
        list(make_loader(samples, batch=19, max_bad=0.04))
    with pytest.raises(ValueError, match="1 of 40 videos"):
        list(make_loader(samples, batch=19, max_bad=0.0))


def test_max_bad_of_one_rank_counts_videos_of_all_ranks(samples):
    share = [samples[number] for number in (7, 8, 9, 10)]
    data = Data(sampling="uniform", workers=0, max_bad=0.1)
    clips = EvalClips(share, data, Eval(resize=24, size=24), frames=2)
    assert len(list(ClipLoader(clips, batch=1, data=data, videos=40))) == 3
    with pytest.raises(ValueError, match=r"1 of 9 videos"):
        list(ClipLoader(clips, batch=1, data=data, videos=9))


@pytest.mark.parametrize("transform_on", ["workers", "device"])
def test_concatenated_batches_are_pinned_for_gpu(samples, monkeypatch, transform_on):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    pinned = []
    loader = make_loader(samples, batch=19, transform_on=transform_on)
    list(loader)
    assert not pinned
    loader.pinned = True
    batch = list(loader)[-1]  # comes after both bad videos, so it is concatenated from parts
    pixels = batch.views if isinstance(batch.views, torch.Tensor) else batch.views.pixels
    places = {tensor.untyped_storage().data_ptr() for tensor in pinned}
    assert {tensor.untyped_storage().data_ptr() for tensor in (pixels, batch.labels)} <= places


def act_when_opening(monkeypatch, name, act):
    """Call `act` whenever a worker opens the video with this name."""
    really = streams.open_video

    def act_and_open(path):
        if str(path).endswith(f"/{name}.mp4"):
            act()
        return really(path)

    monkeypatch.setattr(streams, "open_video", act_and_open)


def test_hanging_worker_ends_run_with_name_of_its_video(samples, monkeypatch):
    act_when_opening(monkeypatch, 3, lambda: time.sleep(600))
    start = time.monotonic()
    with (
        pytest.raises(
            ValueError, match=r"no batch within 1 s \(--data\.timeout\); being read: [^,]*/3\.mp4$"
        ),
        make_loader(samples, batch=8, workers=2, timeout=1.0) as loader,
    ):
        list(loader)
    assert time.monotonic() - start < 20


def test_killed_worker_ends_run_with_name_of_its_video(samples, monkeypatch):
    act_when_opening(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with (
        pytest.raises(
            ValueError, match=r"a data loading worker died \(.*\); being read: [^,]*/3\.mp4\. Perhaps"
        ),
        make_loader(samples, batch=8, workers=2) as loader,
    ):
        list(loader)


def test_worker_does_not_free_objects_of_main_process(samples, tmp_path, monkeypatch):
    freed, really = tmp_path / "freed.txt", streams.open_video

    class OnTheGPU:
        """Substitute for a captured CUDA graph, which only the main process can free: that needs the GPU."""

        def __init__(self):
            self.itself = self

        def __del__(self):
            freed.write_text(str(os.getpid()))

    def collect_and_open(path):
        gc.collect()
        return really(path)

    monkeypatch.setattr(streams, "open_video", collect_and_open)
    gc.disable()  # otherwise it could be freed before the workers start
    try:
        OnTheGPU()
        with make_loader(samples, batch=19, workers=2) as loader:
            assert len(list(loader)) == 2
        assert not gc.isenabled()
        assert not freed.exists()
    finally:
        gc.enable()
    gc.collect()
    assert freed.read_text() == str(os.getpid())


def test_unexpected_worker_error_is_raised_unchanged(samples, monkeypatch):
    def broken():
        raise RuntimeError("a fault of ours")

    act_when_opening(monkeypatch, 3, broken)
    with (
        pytest.raises(RuntimeError, match="a fault of ours"),
        make_loader(samples, batch=8, workers=1) as loader,
    ):
        list(loader)


def test_evaluation_keeps_order_without_bad_files(samples):
    eval = Eval(clips=2, crops=3, resize=24, size=24)
    for workers in (0, 1):
        data = Data(sampling="uniform", workers=workers)
        loader = ClipLoader(EvalClips(samples, data, eval, frames=2), batch=7, data=data)
        labels = [label for batch in loader for label in batch.labels.tolist()]
        assert labels == GOOD
        assert sorted(loader.bad) == list(BAD)


@pytest.mark.filterwarnings("error")
def test_workers_are_limited_to_number_of_cores(samples, monkeypatch):
    monkeypatch.setattr("tanet.data.loader.available_cores", lambda: 1)
    loader = make_loader(samples, batch=8, workers=5)
    assert (loader.loader.num_workers, len(loader.worker_status)) == (1, 1)


def test_two_ranks_with_two_workers_read_each_video_once(samples):
    seen = []
    for rank in (0, 1):
        loader = make_loader(samples, batch=1, workers=2, rank=rank, world_size=2)
        assert len(loader) == VIDEOS // 2
        seen += [int(label) for batch in loader for label in batch.labels]
    assert sorted(seen) == GOOD


@pytest.mark.parametrize(("length", "world_size"), [(10, 1), (10, 2), (11, 4), (3, 8)])
def test_ranks_split_epoch_without_overlap_or_loss(length, world_size):
    shares = [
        epoch_keys(length, seed=1, epoch=3, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert sorted(key for share in shares for key in share) == list(range(3 * length, 4 * length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(share) for share in shares] == [
        len(EpochSampler(length, seed=1, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
