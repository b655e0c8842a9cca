"""Record TAM's gates and kernels during a forward pass, for `tanet show`.

    gate V [N, C, T]    kernel Θ [N, C, K]    computed for each clip, as in models/temporal/tam.py

Some temporal modules use the same kernel for all clips. fixed_kernels.py reads the kernels of these modules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.dataset import EvalClips
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.models.insertion.sites import STAGES, Site
from tanet.models.temporal import temporal_sites
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE, LocalBranch
from tanet.models.temporal.tam_branches import aggregation_kernel, rows_to_clips
from tanet.models.video_backbones.resnet3d import Block3d
from tanet.models.video_backbones.tam3d import TAM3d, frames_of
from tanet.models.video_net import VideoNet
from tanet.ops import squeeze
from tanet.recipes.network2d import Network2D
from tanet.runtime.device import autocast
from tanet.video import VideoError

ADAPTIVE = ("tam", "tanet-r", "global", "local", "global+se")
"""Modules that compute a gate or a kernel for each clip, by their names in TEMPORAL."""

Parts = tuple[torch.Tensor | None, torch.Tensor | None]  # gate [N, C, T], kernel [N, C, K]


@dataclass(frozen=True)
class SiteRecord:
    """Gate and kernel that one temporal module computed for one clip, as float32 tensors on the CPU."""

    site: str
    """Dotted name of the layer of the 2D network at which the temporal module is inserted, or of the block of
    a 3D network that contains it."""
    stage: str
    """Stage of the network, such as res4; in SlowFast with the pathway: slow res4."""
    gate: torch.Tensor | None
    """Gate V [C, T], 0 to 1; None if the module has no gate. In 3D networks, T may be smaller than the number
    of frames of the clip."""
    kernel: torch.Tensor | None
    """Kernel Θ [C, K], whose rows sum to 1; None if the module computes no kernel per clip."""


@dataclass(frozen=True)
class RecordedClip:
    """A clip as the network saw it, with the gates and kernels of its temporal modules."""

    video: str
    """Path of the video."""
    truth: str
    """Name of the true class; "" if the true class is not known."""
    label: str
    """Name of the predicted class."""
    score: float
    """Probability of the predicted class."""
    frames: torch.Tensor
    """Frames of the middle clip, centre crop: uint8 [T, 3, S, S]."""
    adaptations: tuple[SiteRecord, ...]
    """One record per requested stage, from the last temporal module of the stage."""

    @property
    def motion(self) -> float:
        """Mean absolute difference of neighbouring frames, as a fraction of full brightness."""
        return float(self.frames.float().diff(dim=0).abs().mean() / 255) if len(self.frames) > 1 else 0.0


def last_sites(model: Checkpoint, *, stages: Sequence[str] = STAGES) -> list[Site]:
    """Return the site of the last temporal module in each stage, in network order.

    SlowFast has two pathways with stages of their own: `slow res4`, `fast res4` and so on.

    Raises:
        UserError: the network has no temporal module in any of the stages.
    """
    settings, network = model.recipe.model, model.network
    if isinstance(settings, Network2D) and isinstance(network, VideoNet):
        found = temporal_sites(network.backbone, settings)
    else:
        found = list(_tams_of_3d(network))
    last = {site.stage: site for site in found if site.stage.split()[-1] in stages}
    if not last:
        raise UserError(f"{_named_module(model)} is in no block of {', '.join(stages)}")
    return list(last.values())


def _tams_of_3d(network: nn.Module) -> Iterator[Site]:
    """Find the blocks of a 3D network that contain a TAM, in network order."""
    for name, block in network.named_modules():
        if isinstance(block, Block3d) and block.temporal is not None:
            yield Site(name, block, block.conv2.in_channels, "before", stage_of(name))


def stage_of(name: str) -> str:
    """Return the stage of a 3D network's module: "slow.res4.5" is in the stage "slow res4"."""
    *pathway, stage = name.rpartition(".")[0].split(".")
    return " ".join((*pathway, stage))


def _named_module(model: Checkpoint) -> str:
    settings = model.recipe.model
    return f"the temporal module '{settings.temporal}'" if isinstance(settings, Network2D) else "TAM"


def is_adaptive(model: Checkpoint) -> bool:
    """Return whether the checkpoint's temporal module computes a gate or a kernel per clip."""
    settings = model.recipe.model
    return settings.temporal in ADAPTIVE if isinstance(settings, Network2D) else settings.tam


def require_adaptive(model: Checkpoint) -> None:
    """Raise UserError if the checkpoint's temporal module computes neither a gate nor a kernel per clip."""
    settings = model.recipe.model
    is_2d = isinstance(settings, Network2D)
    what = f"its temporal module '{settings.temporal}'" if is_2d else settings.title
    if not is_adaptive(model):
        raise UserError(
            f"the checkpoint has no TAM: {what} computes no gate and no kernel "
            f"per clip; choose a checkpoint with one of {', '.join(ADAPTIVE)}"
        )


def record_clip(
    model: Checkpoint, sample: Sample, *, truth: str = "", stages: Sequence[str] = STAGES
) -> RecordedClip:
    """Run the network on the middle clip of a video and record its gates and kernels.

    Args:
        model: checkpoint with its network on the device to use. The network is left in evaluation mode.
        sample: the video. Its label is not used.
        truth: name of the true class.
        stages: stages to record. Only the last temporal module of each stage is recorded.

    Raises:
        VideoError: the video cannot be read.
        UserError: the network's temporal modules compute no gates and no kernels.
    """
    require_adaptive(model)
    recipe = model.recipe
    one = replace(recipe.eval, clips=1, crops=1, frames=0, clip_frames=0)
    item = EvalClips(
        [sample], recipe.data, one, frames=recipe.model.frames, flows=recipe.model.flows_per_frame
    )[0]
    if isinstance(item, VideoError):
        raise item
    views, *_ = item  # [1, T, C, S, S]
    scores, adaptations = record_batch(model, views, stages=stages)
    best = int(scores[0].argmax())
    return RecordedClip(
        sample.path,
        truth,
        model.classes[best],
        float(scores[0, best]),
        as_pictures(views[0]),
        tuple(
            SiteRecord(site.name, site.stage, *(None if part is None else part[0] for part in parts))
            for site, parts in adaptations
        ),
    )


def as_pictures(clip: torch.Tensor) -> torch.Tensor:
    """Return the frames of a clip as pictures: uint8 [T, C, S, S] → RGB [T, 3, S, S].

    Of optical flow, the first flow of each frame is shown: x in red, y in green.
    """
    if clip.shape[1] == 3:
        return clip
    return torch.cat((clip[:, :2], torch.full_like(clip[:, :1], 128)), 1)


@torch.inference_mode()
def record_batch(
    model: Checkpoint, views: torch.Tensor, *, stages: Sequence[str] = STAGES
) -> tuple[torch.Tensor, list[tuple[Site, Parts]]]:
    """Run the network on a batch of clips and record its gates and kernels.

    Args:
        model: checkpoint. Its network is left in evaluation mode. `network.absorb_batch_norms()` may have
            been called before.
        views: N clips, uint8 [N, T, 3, S, S].
        stages: stages to record. Only the last temporal module of each stage is recorded.

    Returns:
        The probabilities [N, classes], and a list with one entry per recorded module. An entry is the site
        and a pair of gates [N, C, T] and kernels [N, C, K]. Gates or kernels are None if the module
        does not compute them.
    """
    network = model.network.eval()
    device = next(network.parameters()).device
    chosen = last_sites(model, stages=stages)
    found: dict[str, Parts] = {}
    hooks = [
        site.module.get_submodule("temporal").register_forward_pre_hook(partial(_keep, found, site.name))
        for site in chosen
    ]
    try:
        with autocast(device, model.recipe.optim.precision):  # as in testing
            logits = network(normalise(views.to(device), network.input_spec))
    finally:
        for hook in hooks:
            hook.remove()
    return logits.float().softmax(-1).cpu(), [(site, found[site.name]) for site in chosen]


def _keep(found: dict[str, Parts], name: str, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    """Forward pre-hook that records the gate and the kernel that a module computes from its input.

    The module itself computes the gate and the kernel again, because its fused operations do not return them.
    """
    gate, kernel = _branches(module, inputs[0])
    found[name] = (_kept(gate), _kept(kernel))


def _branches(module: nn.Module, x: torch.Tensor) -> Parts:
    """Compute a module's gate [N, C, T] and kernel [N, C, K] from its input x.

    The input is [N·T, C, H, W], in a 3D network [N, C, T, H, W].
    """
    if isinstance(module, TAM3d):
        x = frames_of(x)
    if isinstance(module, TAM):
        return module.branches(x)
    s = squeeze(x)  # [N·T, C]
    if isinstance(module, GlobalBranch):
        return None, aggregation_kernel(module.G, s, module.frames, static=module.S)
    if isinstance(module, LocalBranch):
        return module.branches(s)
    assert isinstance(module, GlobalSE), type(module)
    return rows_to_clips(module.SE(s), module.frames), aggregation_kernel(module.G, s, module.frames)


def _kept(values: torch.Tensor | None) -> torch.Tensor | None:
    return None if values is None else values.float().cpu()
