"""VideoNet: sizes on record, and what the order of frames changes."""

import pytest
import torch

from tanet import build, create_model
from tanet.models.backbones2d import BACKBONES
from tanet.recipes.recipe import Model


def parameters(**fields):
    with torch.device("meta"):
        return sum(p.numel() for p in create_model(**fields).parameters())


def test_parameters_on_record():
    assert parameters(temporal="none") == 24_327_632
    assert parameters(temporal="tam") == 25_590_320
    assert parameters(temporal="tanet-r") == 25_590_320
    assert parameters(temporal="tam", frames=16) == 25_597_744
    assert parameters(temporal="tam", classes=174) == 25_127_246


@pytest.mark.parametrize("temporal", ["tam", "tanet-r"])
def test_order_of_frames_matters_to_tam_and_not_to_the_2d_network(temporal):
    torch.manual_seed(0)
    clips = torch.randn(2, 4, 3, 32, 32)
    for name, matters in ((temporal, True), ("none", False)):
        network = create_model(backbone="resnet18", temporal=name, frames=4, classes=5).double().eval()
        with torch.inference_mode():
            forwards, backwards = network(clips.double()), network(clips.double().flip(1))
        assert (forwards - backwards).abs().max() < 1e-12 or matters
        assert not matters or (forwards - backwards).abs().max() > 1e-6


def test_is_the_mean_of_the_frames_logits():
    torch.manual_seed(0)
    network = create_model(backbone="resnet18", temporal="none", frames=3, classes=5).double().eval()
    clips = torch.randn(2, 3, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        single = [network.head(network.backbone(clips[:, t])) for t in range(3)]
        assert torch.allclose(network(clips), torch.stack(single).mean(0), atol=1e-12)


def test_a_clip_is_alone_in_its_batch():
    torch.manual_seed(0)
    network = create_model(backbone="resnet18", frames=4, classes=5).double().eval()
    clips = torch.randn(3, 4, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(network(clips)[1], network(clips[1:2])[0], atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_builds(name):
    with torch.device("meta"):
        network = create_model(backbone=name, frames=2, classes=7)
        assert network(torch.empty(1, 2, 3, 96, 96)).shape == (1, 7)


def test_refuses_unknown_names_and_shapes():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet51': known are resnet18, resnet18_w16"):
        build(Model(backbone="resnet51"), classes=2)
    with pytest.raises(ValueError, match=r"unknown temporal module 'tma': known are none, pool, "):
        build(Model(temporal="tma"), classes=2)
    with pytest.raises(ValueError, match="positive"):
        build(Model(frames=0), classes=2)
    network = create_model(backbone="resnet18", frames=4, classes=5)
    with pytest.raises(ValueError, match=r"expected clips \[B, 4, 3, H, W\], not \[2, 8, 3, 32, 32\]"):
        network(torch.zeros(2, 8, 3, 32, 32))
