"""VideoNet has the recorded number of parameters, and its logits depend on frame order as they should."""

import pytest
import torch

from tanet import build
from tanet.errors import UserError
from tanet.models.meta import on_meta
from tanet.recipes.recipe import Network2D


def count_parameters(*, classes=400, **fields):
    with on_meta():
        return sum(p.numel() for p in build(Network2D(**fields), classes=classes).parameters())


def test_number_of_parameters_matches_recorded_values():
    assert count_parameters(temporal="none") == 24_327_632
    assert count_parameters(temporal="tam") == 25_590_320
    assert count_parameters(temporal="tanet-r") == 25_590_320
    assert count_parameters(temporal="tam", frames=16) == 25_597_744
    assert count_parameters(temporal="tam", classes=174) == 25_127_246


@pytest.mark.parametrize("temporal", ["tam", "tanet-r"])
def test_frame_order_changes_logits_of_tam_but_not_of_2d_network(temporal):
    torch.manual_seed(0)
    clips = torch.randn(2, 4, 3, 32, 32)
    for name, matters in ((temporal, True), ("none", False)):
        network = build(Network2D(backbone="resnet18", temporal=name, frames=4), classes=5).double().eval()
        with torch.inference_mode():
            forwards, backwards = network(clips.double()), network(clips.double().flip(1))
        assert (forwards - backwards).abs().max() < 1e-12 or matters
        assert not matters or (forwards - backwards).abs().max() > 1e-6


def test_logits_of_2d_network_are_mean_over_frames():
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18", temporal="none", frames=3), classes=5).double().eval()
    clips = torch.randn(2, 3, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        single = [network.head(network.backbone(clips[:, t])) for t in range(3)]
        assert torch.allclose(network(clips), torch.stack(single).mean(0), atol=1e-12)


def test_logits_of_clip_do_not_depend_on_batch():
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18", frames=4), classes=5).double().eval()
    clips = torch.randn(3, 4, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(network(clips)[1], network(clips[1:2])[0], atol=1e-12)


def test_unknown_names_and_wrong_shapes_are_rejected():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet51': choose from resnet18, resnet18_w16"):
        build(Network2D(backbone="resnet51"), classes=2)
    with pytest.raises(ValueError, match=r"unknown temporal module 'tma': choose from none, pool, "):
        build(Network2D(temporal="tma"), classes=2)
    with pytest.raises(UserError, match=r"^model\.frames must be at least 1, not 0$"):
        Network2D(frames=0)
    with pytest.raises(UserError, match=r"^classes must be positive, not 0$"):
        build(Network2D(), classes=0)
    network = build(Network2D(backbone="resnet18", frames=4), classes=5)
    with pytest.raises(ValueError, match=r"expected clips \[B, 4, 3, H, W\], not \[2, 8, 3, 32, 32\]"):
        network(torch.zeros(2, 8, 3, 32, 32))


@pytest.mark.parametrize("temporal", ["tam", "none"])
def test_head_applied_to_features_gives_logits(temporal):
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18", temporal=temporal, frames=4), classes=5).double().eval()
    torch.nn.init.normal_(network.head.weight)
    clips = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        features = network.features(clips)
        assert features.shape == (2, 512)
        torch.testing.assert_close(network.head(features), network(clips), rtol=1e-10, atol=1e-10)


def test_guard_against_stale_compiled_code_is_no_assert():
    network = build(Network2D(backbone="resnet18_w16", temporal="none", frames=2), classes=3)
    network.plugged = None
    # The library cannot use an assert here: `python -O` removes assert statements.
    with pytest.raises(RuntimeError, match="does not know its plugged modules"):
        network(torch.zeros(1, 2, 3, 32, 32))
