"""`optimize` generates code whose logits equal those of the network it was made from."""

import pytest
import torch

from tanet.models.factory import build
from tanet.recipes.recipe import Network2D
from tests.models.test_fold_batch_norm import build_with_random_norms
from tests.support.narrow_networks import NARROW, randomize_norms

pytestmark = pytest.mark.long


@pytest.mark.parametrize("temporal", ["tam", "none"])
def test_generated_code_of_2d_network_keeps_logits(temporal):
    model = Network2D(backbone="resnet18_w16", temporal=temporal, frames=2)
    network = build_with_random_norms(model).float()
    clips = torch.randn(2, 2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            network.optimize(compile=True)(clips), network(clips), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("name", ["tam-slowonly", "r2plus1d", "ip-csn", "artnet"])
def test_generated_code_of_3d_network_keeps_logits(name):
    torch.manual_seed(0)
    network = randomize_norms(build(NARROW[name], classes=5)).float()
    clips = torch.randn(2, network.frames, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            network.optimize(compile=True)(clips), network(clips), rtol=1e-3, atol=1e-3
        )
