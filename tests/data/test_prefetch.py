"""`prefetch_to_device` yields the same batches in the same order, wherever their views are made."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tanet.data import prefetch
from tanet.data.gpu_transforms import concatenate_views, defer_view
from tanet.data.loader import Batch
from tanet.data.normalisation import normalise
from tanet.data.prefetch import prefetch_to_device, timed
from tanet.data.transforms import draw_crop, train_view

CPU = torch.device("cpu")


def make_batches(count, *, raw, views=6):
    """Yield batches of clips of different sizes, like those of a loader."""
    for number in range(count):
        frames = [
            torch.full((2, 40 + i, 60, 3), (10 * number + i) % 256, dtype=torch.uint8) for i in range(views)
        ]
        for clip in frames:
            clip[:, ::3] //= 2
        cuts = [draw_crop(*f.shape[1:3], resize=32, generator=np.random.default_rng(number)) for f in frames]
        pairs = list(zip(frames, cuts, strict=True))
        made = (
            concatenate_views([defer_view(*pair, size=24) for pair in pairs])
            if raw
            else torch.stack([train_view(*pair, size=24) for pair in pairs])
        )
        yield Batch(made, torch.arange(views) + number, keys=tuple(range(views)), used=number)


@pytest.mark.parametrize("raw", [False, True])
def test_batches_are_normalised_and_in_order(raw):
    wanted = list(make_batches(5, raw=False))
    got = list(prefetch_to_device(make_batches(5, raw=raw), CPU))
    assert len(got) == 5
    for batch, made in zip(got, wanted, strict=True):
        assert batch.views.shape == (6, 2, 3, 24, 24)
        assert torch.equal(batch.views, normalise(made.views))
        assert torch.equal(batch.labels, made.labels)
        assert (batch.keys, batch.used) == (made.keys, made.used)


def test_timed_counts_only_waiting_for_loader(monkeypatch):
    now = 0.0
    monkeypatch.setattr("tanet.data.prefetch.time", SimpleNamespace(monotonic=lambda: now))

    def slow():
        nonlocal now
        for batch in make_batches(3, raw=False):
            now += 2.0
            yield batch

    waits = []
    count = 0
    for _ in prefetch_to_device(timed(slow(), waits.append), CPU):
        now += 5.0  # a step
        count += 1
    assert count == 3
    assert sum(waits) == 6.0


def test_empty_loader_gives_no_batches():
    assert list(prefetch_to_device(iter(()), CPU)) == []


def test_errors_of_loader_are_raised():
    def broken():
        yield from make_batches(2, raw=False)
        raise ValueError("a worker died")

    got = prefetch_to_device(broken(), CPU)
    next(got)
    with pytest.raises(ValueError, match="a worker died"):
        list(got)


def test_one_side_stream_per_device(monkeypatch):
    monkeypatch.setattr("torch.cuda.Stream", lambda device: object())
    prefetch._side_stream.cache_clear()
    try:
        one, same = (prefetch._side_stream(torch.device("cuda", 0)) for _ in range(2))
        assert one is same
        assert prefetch._side_stream(torch.device("cuda", 1)) is not one
    finally:
        prefetch._side_stream.cache_clear()  # remove the fake streams


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_memory_does_not_grow_with_epochs():
    gpu = torch.device("cuda")
    sizes = []
    for _ in range(4):
        for _ in prefetch_to_device(make_batches(5, raw=False), gpu):
            pass
        torch.cuda.synchronize()
        sizes.append(torch.cuda.memory_reserved())
    assert sizes[1] == sizes[-1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("raw", [False, True])
def test_gpu_batches_are_complete_while_gpu_is_busy(raw):
    gpu = torch.device("cuda")
    pinned = (
        replace(batch, views=batch.views.pin_memory(), labels=batch.labels.pin_memory())
        for batch in make_batches(30, raw=raw)
    )
    work = torch.randn(2048, 2048, device=gpu)
    got = []
    for batch in prefetch_to_device(pinned, gpu):
        for _ in range(20):
            work = work @ work * 1e-2  # a step long enough for the next copies to overtake it
        views = batch.views + 0 * work.flatten()[0].nan_to_num(0, 0, 0)
        got.append((views.clone(), batch.labels.clone()))
        del batch, views  # memory freed too early would be overwritten
    torch.cuda.synchronize()
    for (views, labels), made in zip(got, make_batches(30, raw=False), strict=True):
        assert torch.equal(views.cpu(), normalise(made.views.to(gpu)).cpu())
        assert torch.equal(labels.cpu(), made.labels)
