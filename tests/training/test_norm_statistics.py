"""BatchNorm statistics of short trainings: averages over training videos, with the weights of the moment."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tanet import train
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.dataset import EvalClips
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample, Split
from tanet.models.factory import build
from tanet.training.norm_statistics import NormStatistics, videos_for_statistics
from tests.support.tiny_videos import TINY, changed, make_folders


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = make_folders(tmp_path_factory.mktemp("videos"), train=6, val=2)
    return changed(TINY, data={"root": str(root), "workers": 0}, optim={"batch": 5}, eval={"clips": 3})


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def test_statistics_are_the_averages_over_batches_of_training_videos(recipe):
    split = read_split(recipe.data)
    torch.manual_seed(0)
    network = build(recipe.model, classes=2).eval()
    for norm in norms_of(network):
        norm.running_mean.fill_(7.0)  # far from settled
    dropout = [m for m in network.modules() if isinstance(m, torch.nn.Dropout)]
    random = torch.random.get_rng_state()
    NormStatistics(recipe, split, device=torch.device("cpu"))(network)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not any(module.training for module in network.modules())
    assert dropout
    assert all(norm.momentum == 0.1 for norm in norms_of(network))

    first = norms_of(network)[0]
    inputs = []
    handle = first.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    one = changed(recipe, eval={"clips": 1, "crops": 1})
    mixed = videos_for_statistics(recipe, split)
    clips = EvalClips(mixed, one.data, one.eval, frames=recipe.model.frames)
    views = torch.cat([clips[number][0] for number in range(len(mixed))])
    for part in views.split(5):
        network(normalise(part, network.input_spec))
    handle.remove()
    weights = torch.tensor([len(part) / sum(map(len, inputs)) for part in inputs])
    means = torch.stack([part.mean((0, 2, 3)) for part in inputs])
    torch.testing.assert_close(first.running_mean, (weights[:, None] * means).sum(0), rtol=1e-4, atol=1e-5)


def test_only_short_trainings_compute_statistics(recipe):
    split = read_split(recipe.data)
    assert len(videos_for_statistics(recipe, split)) == 12
    assert not videos_for_statistics(changed(recipe, optim={"norm_statistics": "running"}), split)
    assert not videos_for_statistics(changed(recipe, optim={"epochs": 251}), split)  # 502 steps
    assert videos_for_statistics(changed(recipe, optim={"epochs": 250}), split)


def test_batches_resemble_those_of_the_training(recipe):
    """A folder lists its videos by class, and a batch of few classes has other statistics."""
    samples = tuple(Sample(f"{number}.mp4", int(number >= 600)) for number in range(800))
    split = Split(samples, samples, ("a", "b"))
    chosen = videos_for_statistics(changed(recipe, optim={"epochs": 1}), split)
    assert videos_for_statistics(changed(recipe, optim={"epochs": 1}), split) == chosen
    assert len(set(chosen)) == len(chosen) == 128
    for start in range(0, 128, 32):
        assert 2 <= sum(sample.label for sample in chosen[start : start + 32]) <= 16  # 8 on average


@pytest.mark.slow
def test_checkpoints_of_a_short_training_have_settled_statistics(recipe, tmp_path):
    """Ten steps of running averages leave 0.9^10 of the initial statistics; the computed ones leave none."""
    found = {}
    for how in ("auto", "running"):
        one = changed(recipe, optim={"norm_statistics": how, "epochs": 2})
        train(one, out=tmp_path / how, device="cpu")
        trained = checkpoint.load(tmp_path / how / "last.safetensors").network
        before = [norm.running_mean.clone() for norm in norms_of(trained)]
        NormStatistics(one, read_split(one.data), device=torch.device("cpu")).__call__(trained)
        settled = changed(one, optim={"norm_statistics": "auto"})
        NormStatistics(settled, read_split(one.data), device=torch.device("cpu"))(trained)
        after = [norm.running_mean for norm in norms_of(trained)]
        found[how] = max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
    assert found["auto"] < 1e-4 < found["running"]
