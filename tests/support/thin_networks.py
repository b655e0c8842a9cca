"""Narrow ResNets of five blocks, for tests whose time grows with the size or the number of layers."""

from functools import partial

import pytest

from tanet.models.backbones2d import BACKBONES
from tanet.models.backbones2d.resnet import BasicBlock, Bottleneck, Bottleneck32x4d, ResNet

BLOCKS = {"thin_basic": BasicBlock, "thin_bottleneck": Bottleneck, "thin_resnext": Bottleneck32x4d}


@pytest.fixture
def thin_networks(monkeypatch):
    """Add a thin network of each kind of block to BACKBONES."""
    for name, block in BLOCKS.items():
        monkeypatch.setitem(BACKBONES, name, partial(ResNet, block, depths=(1, 1, 2, 1), classes=1, width=16))
