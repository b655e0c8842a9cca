"""Views made on the device equal the views of the workers, bit for bit except after strong downscaling."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tanet.data import gpu_transforms
from tanet.data.gpu_transforms import DeferredViews, concatenate_views, defer_view, make_views
from tanet.data.normalisation import normalise
from tanet.data.transforms import Box, CropSpec, draw_crop, train_view

SOURCES = ((240, 320), (256, 341), (320, 240), (128, 172), (96, 96), (240, 426))


def noise(height, width, *, seed=0, frames=2):
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def make_on_workers_and_device(sources, *, size, resize, seed=0, device="cpu"):
    """Make the same crops on the workers' path and on the device's path. Return both and the crop specs."""
    frames = [noise(*source, seed=i) for i, source in enumerate(sources)]
    cuts = [
        draw_crop(*clip.shape[1:3], resize=resize, generator=np.random.default_rng((seed, i)))
        for i, clip in enumerate(frames)
    ]
    raw = concatenate_views(
        [defer_view(clip, cut, size=size) for clip, cut in zip(frames, cuts, strict=True)]
    )
    views = torch.stack([train_view(clip, cut, size=size) for clip, cut in zip(frames, cuts, strict=True)])
    return views, make_views(raw.to(torch.device(device))).cpu(), cuts


@pytest.mark.parametrize("resize", [0, 128, 256])
def test_device_views_equal_worker_views_bitwise(resize):
    seen = set()
    for seed in range(4):
        views, made, cuts = make_on_workers_and_device(SOURCES * 2, size=112, resize=resize, seed=seed)
        assert made.dtype == torch.float32
        assert made.is_contiguous()
        assert torch.equal(made, views.float())
        seen |= {(cut.mirrored, cut.box.height == cut.box.width) for cut in cuts}
    assert len(seen) == 4


def test_strong_downscaling_differs_by_one_level_in_few_pixels():
    views, made, _ = make_on_workers_and_device([(480, 640), (360, 640), (720, 1280)], size=64, resize=0)
    error = (made - views).abs()
    assert error.max() <= 1
    assert (error > 0).float().mean() < 1e-4


def test_unusual_sizes_differ_by_at_most_one_level():
    generator = np.random.default_rng(0)
    for _ in range(150):
        height, width, inner_height, inner_width, size = (int(n) for n in generator.integers(20, 110, 5))
        box_height, box_width = (int(generator.integers(8, n + 1)) for n in (inner_height, inner_width))
        top = int(generator.integers(inner_height - box_height + 1))
        left = int(generator.integers(inner_width - box_width + 1))
        cut = CropSpec(inner_height, inner_width, Box(top, left, box_height, box_width), bool(width % 2))
        frames = noise(height, width)
        made = make_views(defer_view(frames, cut, size=size))[0]
        error = (made - train_view(frames, cut, size=size)).abs()
        assert error.max() <= 1
        assert (error > 0).sum() <= 2


def test_resize_weights_match_pytorch():
    for before, after in ((240, 256), (256, 224), (168, 224), (37, 90), (90, 61)):
        ramp = torch.randint(0, 256, (1, 3, 1, before), dtype=torch.uint8)
        wanted = F.interpolate(ramp, (1, after), mode="bilinear", antialias=True)
        taps = gpu_transforms._resize_weights(before, after)
        made = (ramp.float() @ taps.matrix(before).mT + 0.5).floor()
        assert torch.equal(made, wanted.float())
        assert taps.weights.sum(2).sub(1).abs().max() < 2**-11  # so that results stay within 0 to 255


def test_deferred_view_keeps_only_needed_pixels():
    frames = noise(240, 320)
    cut = CropSpec(256, 341, Box(32, 40, 192, 168), mirrored=False)
    raw = defer_view(frames, cut, size=224)
    _, height, width = raw.shapes[0]
    assert height <= 192 * 240 / 256 + 3
    assert width <= 168 * 320 / 341 + 3
    assert raw.pixels.numel() == 2 * height * width * 3
    same = defer_view(frames, CropSpec(240, 320, Box(5, 7, 100, 120), mirrored=False), size=112)
    (clip,) = same.clips()
    assert torch.equal(clip, frames[:, 5:105, 7:127])


def test_deferred_views_can_be_concatenated_and_sliced():
    frames = [noise(*source, seed=i) for i, source in enumerate(SOURCES)]
    cuts = [draw_crop(*clip.shape[1:3], resize=128, generator=np.random.default_rng(7)) for clip in frames]
    parts = [defer_view(clip, cut, size=48) for clip, cut in zip(frames, cuts, strict=True)]
    batch = concatenate_views(parts)
    assert len(batch) == 6
    alone = torch.cat([make_views(part) for part in parts])
    assert torch.equal(make_views(batch), alone)
    assert torch.equal(make_views(batch[2:5]), alone[2:5])
    assert torch.equal(
        make_views(concatenate_views([batch[4:], batch[:3]])), torch.cat([alone[4:], alone[:3]])
    )
    assert len(batch[6:]) == 0


def test_chunk_size_does_not_change_views(monkeypatch):
    views, made, _ = make_on_workers_and_device(SOURCES, size=48, resize=128)
    monkeypatch.setattr(gpu_transforms, "CHUNK_VALUES", 3 * 2 * 240 * 426 * 2)  # chunks of two views
    _, again, _ = make_on_workers_and_device(SOURCES, size=48, resize=128)
    assert torch.equal(made, again)
    assert torch.equal(views.float(), again)


def test_batch_mixes_views_with_and_without_resized_short_side():
    # Only the first clip already has the short side 128
    views, made, _ = make_on_workers_and_device([(128, 160), (96, 128)], size=64, resize=128)
    assert torch.equal(made, views.float())


def test_autocast_does_not_change_views():
    with torch.autocast("cpu", torch.bfloat16):
        views, made, _ = make_on_workers_and_device([(128, 160)], size=64, resize=96)
    assert torch.equal(made, views.float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_views_equal_worker_views_bitwise():
    for resize in (0, 256):
        views, made, _ = make_on_workers_and_device(SOURCES * 4, size=224, resize=resize, device="cuda")
        assert torch.equal(made, views.float())


def test_deferred_views_can_be_moved_and_pinned():
    raw = defer_view(noise(40, 50), draw_crop(40, 50, generator=np.random.default_rng(0), resize=32), size=24)
    moved = raw.to(torch.device("cpu"))
    assert isinstance(moved, DeferredViews)
    assert torch.equal(make_views(moved), make_views(raw))
    assert callable(raw.pin_memory)
    assert normalise(make_views(raw)).dtype == torch.float32
