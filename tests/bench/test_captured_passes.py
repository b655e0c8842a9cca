"""CUDA graphs keep modes and momenta of their capture, so passes with others run without them."""

import torch

from bench.common import capture_passes
from tanet.data.annotations import read_split
from tanet.models.factory import build
from tanet.training.norm_statistics import NormStatistics
from tests.support.tiny_videos import TINY, changed, make_folders


def test_statistics_are_computed_without_the_graphs(tmp_path, monkeypatch):
    root = make_folders(tmp_path, train=4, val=1)
    recipe = changed(TINY, data={"root": str(root)}, optim={"precision": "float32"})
    networks = []
    for captured in (False, True):
        torch.manual_seed(0)
        network = build(recipe.model, classes=2).train()
        if captured:
            monkeypatch.setattr(torch.cuda, "make_graphed_callables", _stand_in)
            capture_passes(network, recipe.optim, size=recipe.data.size)
        NormStatistics(recipe, read_split(recipe.data, seed=0), device=torch.device("cpu"))(network)
        networks.append(network)
    plain, captured = networks
    for name, value in plain.named_buffers():
        assert torch.equal(value, captured.get_buffer(name))
    clips = torch.randn(2, recipe.model.frames, 3, recipe.data.size, recipe.data.size)
    assert captured(clips).isnan().all()  # a training step runs the graphs
    captured.dropout.eval()
    assert captured(clips).isfinite().all()


def _stand_in(network, clips):
    """Replace a network's training pass by one that computes nothing and gives NaN."""
    eager = network.forward

    def forward(*args):
        return torch.full((1,), torch.nan) if network.training else eager(*args)

    network.forward = forward
