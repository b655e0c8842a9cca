"""Frames are prepared inside an exported network as for a test."""

from dataclasses import replace

import pytest
import torch

from tanet.data.transforms import size_for_short_side
from tanet.data.views import cut_views
from tanet.inference.export.frame_input import FrameInput, centre_offset, resized_sides
from tanet.models.factory import build
from tests.support.tiny_videos import TINY

SIZES = ((240, 426), (270, 360), (1080, 1920), (480, 270), (256, 256))


@pytest.mark.parametrize("style", ["tanet", "tsm", "mmaction2", "pyslowfast"])
def test_views_are_those_of_a_test(style):
    network = build(TINY.model, classes=2).eval()
    eval = replace(TINY.eval, resize=128, size=112, style=style)
    frame_input = FrameInput(network, eval)
    for height, width in SIZES:
        frames = torch.randint(0, 256, (1, 4, height, width, 3), dtype=torch.uint8)
        found, wanted = frame_input.views(frames).float(), cut_views(frames, eval).float()
        assert (found - wanted).abs().max() <= 1
    eval = replace(eval, resize_width=170)
    frames = torch.randint(0, 256, (1, 4, 90, 160, 3), dtype=torch.uint8)
    assert (
        FrameInput(network, eval).views(frames).float() - cut_views(frames, eval).float()
    ).abs().max() <= 1


def test_sizes_of_symbols_are_those_of_numbers():
    for resize in (112, 256):
        eval = replace(TINY.eval, resize=resize, size=112)
        for height in (144, 240, 333, 1080):
            for width in range(100, 2000, 7):
                assert resized_sides(height, width, eval) == size_for_short_side(height, width, resize)
    assert [centre_offset(free, "tanet") for free in range(200)] == [round(free / 2) for free in range(200)]
