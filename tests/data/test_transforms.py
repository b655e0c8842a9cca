"""Crops, mirroring, resizing and normalisation, tested on frames whose pixels encode their coordinates."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tanet.data import transforms
from tanet.data.mirror_labels import mirror_labels
from tanet.data.normalisation import normalise
from tanet.data.transforms import Box
from tanet.errors import UserError


def coordinate_frames(height, width, frames=2):
    """Make frames whose red value is the row and whose green value is the column."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8)[None].expand(height, width)
    picture = torch.stack([rows, columns, torch.zeros_like(rows)], -1)
    return picture.expand(frames, -1, -1, -1).clone()


def top_left_pixel(view):
    """Return the source coordinates (row, column) of the top-left pixel of a view [..., 3, S, S]."""
    return tuple(view[..., :2, 0, 0].flatten()[:2].tolist())


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (200, 240, [(0, 0), (0, 20), (0, 40)]),  # left, centre, right
        (240, 200, [(0, 0), (20, 0), (40, 0)]),  # portrait: top, centre, bottom
        (200, 200, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops_lie_along_longer_side(height, width, expected):
    clips = torch.stack([coordinate_frames(height, width)] * 2)
    views = transforms.eval_views(clips, resize=200, size=200, crops=3)
    assert views.shape == (6, 2, 3, 200, 200)
    assert [top_left_pixel(view) for view in views] == expected * 2
    centre = transforms.eval_views(clips, resize=200, size=200, crops=1)
    assert [top_left_pixel(view) for view in centre] == expected[1:2] * 2


def test_small_crops_are_centred_on_shorter_side():
    boxes = transforms.eval_boxes(256, 340, size=224, crops=3)
    assert boxes == [Box(16, 0, 224, 224), Box(16, 58, 224, 224), Box(16, 116, 224, 224)]


def test_views_of_one_clip_are_consecutive():
    clips = torch.stack([coordinate_frames(20, 30), coordinate_frames(20, 30) + 100])
    views = transforms.eval_views(clips, resize=20, size=20, crops=3)
    assert [bool((view[:, 0] >= 100).all()) for view in views] == [False] * 3 + [True] * 3


def test_resize_short_side_keeps_aspect_ratio():
    assert transforms.resize_short_side(torch.zeros(1, 240, 320, 3, dtype=torch.uint8), 256).shape == (
        1,
        256,
        341,
        3,
    )
    assert transforms.resize_short_side(torch.zeros(1, 320, 240, 3, dtype=torch.uint8), 256).shape == (
        1,
        341,
        256,
        3,
    )


def test_multi_scale_crop_has_published_sizes_and_positions():
    generator = np.random.default_rng(0)
    scales = (1.0, 0.875, 0.75, 0.66)
    boxes = {transforms.multi_scale_box(256, 340, scales=scales, generator=generator) for _ in range(5000)}
    sides = [256, 224, 192, 168]
    allowed = {(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1}
    assert {(box.height, box.width) for box in boxes} == allowed
    places = {(box.top, box.left) for box in boxes if (box.height, box.width) == (224, 192)}
    down, right = (256 - 224) // 4, (340 - 192) // 4
    assert places == {(down * y, right * x) for y, x in transforms.CROP_POSITIONS}
    assert len(set(transforms.CROP_POSITIONS)) == 13


def test_train_view_uses_one_crop_for_all_frames_and_mirrors_half_of_the_views():
    frames = coordinate_frames(60, 80, frames=4)
    mirrored = 0
    for seed in range(200):
        cut = transforms.draw_crop(60, 80, resize=0, generator=np.random.default_rng(seed))
        view = transforms.train_view(frames, cut, size=24)
        assert view.shape == (4, 3, 24, 24)
        assert (view == view[:1]).all()
        assert (
            view[0, 1, 0, 0] > view[0, 1, 0, -1]
        ) == cut.mirrored  # a mirrored view has its columns in reverse order
        mirrored += cut.mirrored
    assert 70 < mirrored < 130


def test_crop_depends_only_on_its_generator():
    one, two, other = (
        [transforms.draw_crop(40, 50, resize=32, generator=np.random.default_rng(seed + i)) for i in range(9)]
        for seed in (3, 3, 99)
    )
    assert one == two
    assert one != other
    assert {(cut.height, cut.width) for cut in one} == {(32, 40)}


def test_crop_without_flip_is_same_but_never_mirrored():
    for seed in range(20):
        cut, plain = (
            transforms.draw_crop(40, 50, flip=flip, generator=np.random.default_rng(seed))
            for flip in (True, False)
        )
        assert plain.box == cut.box
        assert not plain.mirrored


def test_normalise_uses_imagenet_mean_and_std():
    views = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    black, white = normalise(views).flatten(1)
    assert torch.allclose(black, torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    assert torch.allclose(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_resize_is_antialiased():
    stripes = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    # Grey; without antialiasing, picking every fourth pixel gives white.
    inner = transforms.resize_short_side(stripes, 16)[:, :, 1:-1]
    assert (inner.int() - 127).abs().max() <= 2


def test_mirror_labels_of_something_something(data):
    def pairs(name):
        names = tuple((data / "labels" / name).read_text().strip().splitlines())
        assert len(names) == 174
        labels = mirror_labels(names)
        assert all(j is None or labels[j] == i for i, j in enumerate(labels))
        return {(i, j) for i, j in enumerate(labels) if j is not None and i < j}

    assert pairs("sthv1.txt") == {(2, 4), (30, 41), (52, 66)}
    assert pairs("sthv2.txt") == {(86, 87), (93, 94), (166, 167)}


def test_mirror_labels_of_other_names():
    assert mirror_labels(("turn_left", "turn_right", "turn")) == [1, 0, 2]
    assert mirror_labels(("Swiping Left", "Swiping Right", "bright", "leftover")) == [1, 0, 2, 3]
    assert mirror_labels(("turnLeft", "turnRight", "LEFT", "RIGHT")) == [1, 0, 3, 2]
    assert mirror_labels(("left alone", "other")) == [None, 1]  # no partner: never mirrored
    with pytest.raises(ValueError, match="needs the names"):
        mirror_labels(("0", "1"))


# Crops of other codebases, written from their definitions.


def published_crops(width, height, size):
    """Return left and top of GroupFullResSample's crops."""
    w_step, h_step = (width - size) // 4, (height - size) // 4
    return [(0, 2 * h_step), (4 * w_step, 2 * h_step), (2 * w_step, 2 * h_step)]


def mmaction2_crops(width, height, size):
    """Return left and top of ThreeCrop's crops."""
    if size == height:
        w_step = (width - size) // 2
        return [(0, 0), (2 * w_step, 0), (w_step, 0)]
    h_step = (height - size) // 2
    return [(0, 0), (0, 2 * h_step), (0, h_step)]


@pytest.mark.parametrize("size", [224, 240, 256])
def test_crop_boxes_of_other_code_are_equal(size):
    def ours(height, width, crops, style):
        boxes = transforms.eval_boxes(height, width, size=size, crops=crops, style=style)
        assert all((box.height, box.width) == (size, size) for box in boxes)
        return [(box.left, box.top) for box in boxes]

    for width in range(size, 481):
        for height in (256, 270, 340) if size <= 256 else ():
            for style in ("published", "tsm"):
                assert ours(height, width, 3, style) == published_crops(width, height, size)
                centre = round((width - size) / 2.0), round((height - size) / 2.0)
                assert ours(height, width, 1, style) == [centre]
            assert ours(height, width, 1, "mmaction2") == [((width - size) // 2, (height - size) // 2)]
        assert ours(size, width, 3, "mmaction2") == mmaction2_crops(width, size, size)
        assert ours(width, size, 3, "mmaction2") == mmaction2_crops(size, width, size)
    with pytest.raises(ValueError, match=r"eval\.style mmaction2 cuts three crops if"):
        ours(size + 2, size + 9, 3, "mmaction2")


def test_short_side_of_mmaction2_is_rounded_and_not_antialiased():
    for width in range(224, 481):
        for height in (224, 240, 333):
            scale = 256 / min(width, height)
            expected = int(height * float(scale) + 0.5), int(width * float(scale) + 0.5)
            assert transforms.size_for_short_side(height, width, 256, style="mmaction2") == expected
    stripes = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    stripes[:, :, ::4] = 255
    smooth, plain = (
        transforms.resize_short_side(stripes, 16, style=style).float() for style in ("tanet", "mmaction2")
    )
    assert (plain == 0).all()  # halfway between columns 1 and 2 of each four
    assert abs(smooth.mean() - 255 / 4) < 4


def test_crop_sides_snap_to_the_size():
    sides = set()
    for seed in range(300):
        generator = np.random.default_rng(seed)
        box = transforms.multi_scale_box(
            257, 340, scales=(1.0, 0.875, 0.75), generator=generator, snap=(224, 2)
        )
        sides |= {box.height, box.width}
    assert sides == {257, 224, 192}  # int(257 · 0.875) is 224; int(257 · 0.75) is 192
    box = transforms.multi_scale_box(
        226, 226, scales=(1.0,), generator=np.random.default_rng(0), snap=(224, 2)
    )
    assert (box.height, box.width) == (224, 224)


def test_crops_of_pyslowfast():
    def corners(height, width, *, size, crops):
        boxes = transforms.eval_boxes(height, width, size=size, crops=crops, style="pyslowfast")
        assert all((box.height, box.width) == (size, size) for box in boxes)
        return [(box.top, box.left) for box in boxes]

    # Half of an odd free space is rounded up: 85 / 2 → 43, 117 / 2 → 59, 33 / 2 → 17.
    assert corners(256, 341, size=256, crops=3) == [(0, 0), (0, 43), (0, 85)]
    assert corners(341, 256, size=256, crops=3) == [(0, 0), (43, 0), (85, 0)]
    assert corners(257, 341, size=224, crops=3) == [(17, 0), (17, 59), (17, 117)]
    assert corners(257, 341, size=224, crops=1) == [(17, 59)]
    assert corners(256, 340, size=256, crops=3) == [(0, 0), (0, 42), (0, 84)]


def test_resizing_of_pyslowfast():
    def sides(height, width, size):
        return transforms.size_for_short_side(height, width, size, style="pyslowfast")

    assert sides(240, 320, 256) == (256, 341)  # ⌊4/3 · 256⌋
    assert sides(320, 240, 182) == (242, 182)  # ⌊4/3 · 182⌋
    assert sides(256, 340, 256) == (256, 340)
    assert sides(140, 340, 182) == (182, 441)  # 340/140 · 182 is 442, but rounding errors make it smaller
    # The columns 0 | 101 lie at 0.5 and 1.5, new columns at 0.25, 0.75, 1.25, 1.75: 0, 25.25, 75.75, 101.
    frame = torch.tensor([0, 101], dtype=torch.uint8).view(1, 1, 2, 1).expand(2, 2, 2, 3)
    resized = transforms.resize_short_side(frame, 4, style="pyslowfast")
    assert resized.dtype == torch.uint8
    assert (resized == torch.tensor([0, 25, 76, 101]).view(1, 1, 4, 1)).all()
    # No antialiasing: half the size takes the mean of the two middle ones of four columns.
    stripes = torch.tensor([0, 0, 0, 255], dtype=torch.uint8).repeat(2).view(1, 1, 8, 1).expand(1, 8, 8, 3)
    assert (transforms.resize_short_side(stripes, 2, style="pyslowfast") == 0).all()


def jittered_crops(count=4000, *, seed=0, flip=True):
    generator = np.random.default_rng(seed)
    rules = {"short_sides": (32, 40), "size": 28, "flip": flip}
    return [transforms.draw_jittered_crop(60, 90, generator=generator, **rules) for _ in range(count)]


def test_jittered_crops_have_all_sizes_and_positions():
    cuts = jittered_crops()
    assert {cut.height for cut in cuts} == set(range(32, 41))
    assert all(cut.width == int(1.5 * cut.height) for cut in cuts)
    assert {(cut.box.height, cut.box.width) for cut in cuts} == {(28, 28)}
    assert {cut.box.top for cut in cuts if cut.height == 35} == set(range(8))  # 35 - 28 = 7 free rows
    assert {cut.box.left for cut in cuts if cut.height == 35} == set(range(25))  # 52 - 28 = 24 free columns
    counts = np.bincount([cut.height for cut in cuts])[33:40]
    assert counts.min() > 0.8 * counts.mean()
    assert 0.45 < np.mean([cut.mirrored for cut in cuts]) < 0.55
    assert not any(cut.mirrored for cut in jittered_crops(50, flip=False))


def test_jittered_crops_depend_only_on_generator():
    assert jittered_crops(9, seed=3) == jittered_crops(9, seed=3) != jittered_crops(9, seed=4)
    fixed = transforms.draw_jittered_crop(
        90, 60, generator=np.random.default_rng(0), short_sides=(28, 28), size=28
    )
    assert (fixed.height, fixed.width, fixed.box.left) == (42, 28, 0)


def test_six_crops_are_spread_along_the_longer_side():
    # The last crop is at the end; the others are at multiples of a fifth of the free space, rounded down.
    boxes = transforms.eval_boxes(20, 43, size=20, crops=6)
    assert [(box.top, box.left) for box in boxes] == [(0, left) for left in (0, 4, 8, 12, 16, 23)]
    boxes = transforms.eval_boxes(43, 20, size=20, crops=6)
    assert [(box.top, box.left) for box in boxes] == [(top, 0) for top in (0, 4, 8, 12, 16, 23)]


def test_ten_crops_are_corners_and_centre_each_mirrored():
    # Free space is 10 down and 15 right; the offsets are multiples of a quarter of it, rounded down.
    frames = torch.arange(20 * 25, dtype=torch.int64).remainder(251).to(torch.uint8)
    frames = frames.view(1, 1, 20, 25, 1).expand(1, 2, 20, 25, 3)
    views = transforms.eval_views(frames, resize=20, size=10, crops=10)
    assert views.shape == (10, 2, 3, 10, 10)
    corners = ((0, 0), (0, 12), (8, 0), (8, 12), (4, 6))
    for number, (top, left) in enumerate(corners):
        expected = frames[0, :, top : top + 10, left : left + 10].permute(0, 3, 1, 2)
        assert torch.equal(views[2 * number], expected)
        assert torch.equal(views[2 * number + 1], expected.flip(-1))
    with pytest.raises(UserError, match="crops must be 1, 3, 6 or 10, not 5"):
        transforms.eval_views(frames, resize=20, size=10, crops=5)


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40)])
def test_width_of_frames_can_be_set_whatever_their_shape(height, width):
    frames = torch.randint(256, (1, 2, height, width, 3), dtype=torch.uint8)
    views = transforms.eval_views(frames, resize=16, size=16, crops=3, resize_width=24)
    resized = F.interpolate(frames[0].permute(0, 3, 1, 2), (16, 24), mode="bilinear", antialias=True)
    for number, left in enumerate((0, 4, 8)):
        assert torch.equal(views[number], resized[..., left : left + 16])
    generator = np.random.default_rng(0)
    cut = transforms.draw_crop(height, width, generator=generator, resize=16, resize_width=24)
    assert (cut.height, cut.width) == (16, 24)
    sides = {"short_sides": (16, 32), "size": 16, "resize_width": 24}
    cuts = [transforms.draw_jittered_crop(height, width, generator=generator, **sides) for _ in range(50)]
    assert {(cut.height, cut.width) for cut in cuts} == {(cut.height, cut.height * 3 // 2) for cut in cuts}
    assert {cut.height for cut in cuts} > {20, 25}
