"""BatchNorm statistics for the validation and the checkpoints of a short training.

A BatchNorm's running statistics follow the network with a delay of tens of steps. A short training ends
before they have settled, above all in a network with new temporal modules: its weights are good, but in
evaluation mode it answers the same class for all videos. So after each epoch of a training of at most
`SHORT` / momentum steps, the statistics are computed again with the weights of that moment, as averages over
training videos ("precise BatchNorm", Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021). With the usual
momentum of 0.1, these are 500 steps. I3D with Inception has a momentum of 0.001.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.data.dataset import EvalClips
from tanet.data.loader import ClipLoader
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample, Split
from tanet.models.network import Network
from tanet.recipes.recipe import Recipe
from tanet.runtime.device import autocast
from tanet.training.schedule import steps_per_epoch

SHORT = 50  # steps of a training, times the momentum of the BatchNorms
VIDEOS = 128  # training videos for the averages


def videos_for_statistics(recipe: Recipe, split: Split) -> list[Sample]:
    """Return the training videos for the statistics; none if the running statistics are used.

    They are drawn at random, always the same ones. In the order of a folder, a batch would have few classes,
    and its statistics would differ from those of the training's batches.
    """
    steps = recipe.optim.epochs * steps_per_epoch(recipe.optim, videos=len(split.train))
    if recipe.optim.norm_statistics == "running" or steps * recipe.model.norm_momentum > SHORT:
        return []
    return random.Random(0).sample(split.train, min(VIDEOS, len(split.train)))


class NormStatistics:
    """Function that computes the BatchNorm statistics of a network again, in place.

    It leaves the global random numbers alone, so that a resumed run makes the same steps. All ranks use the
    same videos.

    Args:
        recipe: the experiment.
        split: the labelled videos.
        device: device of the network.
    """

    def __init__(self, recipe: Recipe, split: Split, *, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.videos = videos_for_statistics(recipe, split)

    def __call__(self, network: Network) -> None:
        """Compute the statistics from the central view of each video. Unreadable videos are left out.

        Raises:
            UserError: a worker hangs or died.
        """
        if not self.videos or not trained_norms(network):
            return
        recipe = self.recipe
        one_view = replace(
            recipe.eval, clips=1, crops=1, frames=0, clip_frames=0
        )  # clips as long as in training
        data = replace(recipe.data, bad_files="skip", max_bad=1.0)  # training has reported bad videos
        clips = EvalClips(
            self.videos, data, one_view, frames=recipe.model.frames, flows=recipe.model.flows_per_frame
        )
        size = min(recipe.optim.batch, recipe.eval.batch)
        with (
            ClipLoader(clips, batch=size, data=data, device=self.device) as loader,
            _only_norms_train(network) as norms,
            torch.no_grad(),
        ):
            seen = 0
            for batch in loader:
                assert isinstance(batch.views, torch.Tensor)  # [B, 1, T, 3, S, S]
                count = len(batch.labels)
                seen += count
                for norm in norms:
                    norm.momentum = count / seen  # so that the running average is the mean so far
                views = batch.views.flatten(0, 1).to(self.device, non_blocking=True)
                regions = () if batch.boxes is None else (batch.boxes.flatten(0, 1).to(self.device),)
                with autocast(self.device, recipe.optim.precision):
                    network(normalise(views, network.input_spec), *regions)


def trained_norms(network: Network) -> list[_BatchNorm]:
    """Return the BatchNorms with running statistics that are not frozen."""
    modules = {name: m for name, m in network.named_modules() if isinstance(m, _BatchNorm)}
    return [m for name, m in modules.items() if m.track_running_stats and name not in network.frozen]


@contextmanager
def _only_norms_train(network: Network) -> Iterator[list[_BatchNorm]]:
    """Set a network to training mode, without dropout; restore modes and momenta at the end."""
    modes = {module: module.training for module in network.modules()}
    norms = trained_norms(network)
    momenta = [norm.momentum for norm in norms]
    network.train()
    for module in modes:
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    try:
        yield norms
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
