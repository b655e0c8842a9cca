"""Writing of 2D networks for published code (of TANet, TSM, TSN and TRN) and for mmaction2."""

from typing import Any, Literal

import torch

from tanet.checkpoints.checkpoint_file import Checkpoint
from tanet.checkpoints.convert.layouts2d import packed
from tanet.checkpoints.convert.names2d import (
    MMACTION2,
    MMACTION2_MOBILENET_V2,
    OFFICIAL,
    OFFICIAL_MOBILENET_V2,
)
from tanet.checkpoints.convert.weight_names import Names, to_theirs
from tanet.checkpoints.convert.write3d import writable
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.insertion.sites import STAGES
from tanet.models.meta import on_meta
from tanet.models.temporal import temporal_sites
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings

Codebase = Literal["official", "mmaction2"]
OF_TANET = ("resnet50", "resnet101", "resnet152")
"""2D networks that a TANet of another project can contain."""
OTHERS: dict[Codebase, tuple[str, ...]] = {
    "official": ("resnet18", "resnet34", *OF_TANET, "mobilenet_v2", "bn_inception"),
    "mmaction2": ("resnet18", "resnet34", *OF_TANET, "mobilenet_v2"),
}
"""2D networks that a TSM, a TSN or a TRN of another project can contain."""


def to_official(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint of a 2D network in the format of published code, without the optimizer's state.

    Raises:
        UserError: no published code supports this network.
    """
    info = checkpoint.info
    model = _checked(checkpoint, "official")
    found = (model.alpha, model.beta, model.kernel, model.local_kernel)
    if model.temporal == "tam" and found != (2, 4, 3, 3):
        raise UserError(
            "the published code has TAMs of alpha 2, beta 4, kernel 3 and local_kernel 3; this network has "
            "{}, {}, {} and {}".format(*found)
        )
    return {
        "epoch": info.get("epoch", 0),
        "arch": model.backbone,
        "state_dict": {f"module.{k}": v for k, v in _state(checkpoint, model, "official").items()},
        "best_prec1": info.get("best_prec1", 100 * (info.get("val_top1") or 0.0)),
    }


def to_mmaction2(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint of a 2D network in the format of mmaction2.

    Raises:
        UserError: mmaction2 does not support this network.
    """
    model = _checked(checkpoint, "mmaction2")
    return {"meta": checkpoint.info, "state_dict": _state(checkpoint, model, "mmaction2")}


def _state(checkpoint: Checkpoint, model: Network2D, codebase: Codebase) -> dict[str, torch.Tensor]:
    mobilenet = model.backbone == "mobilenet_v2"
    if codebase == "official":
        names = OFFICIAL_MOBILENET_V2 if mobilenet else OFFICIAL
    else:
        names = MMACTION2_MOBILENET_V2 if mobilenet else MMACTION2
    state = checkpoint.network.state_dict()
    theirs = {name: state[ours].contiguous() for ours, name in to_theirs(state, names).items()}
    return packed(theirs, shifted=_shifted(model, names), codebase=codebase)


def _shifted(model: Network2D, names: Names) -> set[str]:
    """Return the layers with a temporal shift before them, by the names of a codebase."""
    if model.temporal != "tsm" or model.position == "input":
        return set()
    with on_meta():
        sites = temporal_sites(BACKBONES[model.backbone](), model)
    theirs = to_theirs([f"backbone.{site.name}.weight" for site in sites], names).values()
    layers = {name.removesuffix(".weight") for name in theirs}
    # In mmaction2's MobileNetV2, the shift is before a convolution with its BatchNorm.
    return {name.removesuffix(".conv") for name in layers} if names is MMACTION2_MOBILENET_V2 else layers


def _checked(checkpoint: Checkpoint, codebase: Codebase) -> Network2D:
    """Return the settings of a 2D network that a codebase can read."""
    model = checkpoint.recipe.model
    if not isinstance(model, Network2D):
        others = " or ".join(["tanet", *writable(checkpoint)])
        raise UserError(
            f"the published code is for 2D networks; this network is {model.title}: use --to {others}"
        )
    if model.temporal in ("tsm", "none"):
        _check_other(model, codebase)
    else:
        _check_tanet(model)
    return model


def _check_other(model: Network2D, codebase: Codebase) -> None:
    """Raise UserError unless a codebase has this TSM, TSN or TRN."""
    cause = ""
    if model.backbone not in OTHERS[codebase]:
        cause = f"published networks have {', '.join(OTHERS[codebase])}, this one has {model.backbone}"
    elif model.temporal == "tsm" and model.position not in ("auto", "a"):
        # With BN-Inception, TSM's code shifts the inputs of blocks; its weights do not show the shift.
        if (model.backbone, model.position) != ("bn_inception", "input"):
            cause = f"published TSMs shift at position a, this one at {model.position}"
    elif model.temporal == "tsm" and model.backbone == "bn_inception":
        cause = "published TSMs with BN-Inception shift at position input, this one at a"
    elif codebase == "official" and model.non_local not in ("none", "softmax"):
        cause = f"TSM's code has non-local blocks of the kind softmax, this network {model.non_local}"
    elif model.non_local != "none" and model.backbone not in OF_TANET:
        cause = (
            f"published networks have non-local blocks in {', '.join(OF_TANET)}, this one is {model.backbone}"
        )
    if cause:
        raise UserError(f"{cause}: use --to tanet")


def _check_tanet(model: Network2D) -> None:
    """Raise UserError unless other projects can read this TANet."""
    if model.temporal != "tam" or model.position not in ("auto", "b") or model.backbone not in OF_TANET:
        raise UserError(
            f"published TANets have tam at position b (or auto) of {', '.join(OF_TANET)}; this "
            f"network has {model.temporal} at {model.position} of {model.backbone}: use --to tanet"
        )
    if model.non_local != "none" or model.consensus != "mean":
        raise UserError(
            "published TANets have no non-local blocks and no TRN; this network is "
            f"{model.title}: use --to tanet"
        )
    if model.static_kernel != "none":
        raise UserError("published TANets have no static kernel; this network has one: use --to tanet")
    if model.blocks != "all":
        raise UserError(
            f"published TANets have a TAM in every block; this network has TAMs only in blocks of the kind "
            f"{model.blocks}: use --to tanet"
        )
    if set(model.stages) != set(STAGES):
        raise UserError(
            f"published TANets have a TAM in every block of {', '.join(STAGES)}; this network has TAMs only "
            f"in {', '.join(model.stages)}: use --to tanet"
        )


def notes_for_2d(model: NetworkSettings, codebase: Codebase) -> list[str]:
    """Return what the other codebase must be told to read a 2D network, one line each."""
    if not isinstance(model, Network2D):
        return []
    notes = []
    if codebase == "mmaction2" and (settings := _tam_cfg(model)):
        notes.append(f"mmaction2's config must say tam_cfg=dict({settings})")
    if model.temporal == "tsm" and model.shift_div != 8:
        where = "mmaction2's config must say" if codebase == "mmaction2" else "TSM's code needs"
        notes.append(f"{where} shift_div={model.shift_div}")
    kinds = {"softmax": "embedded_gaussian", "dot": "dot_product", "gaussian": "gaussian"}
    if codebase == "mmaction2" and model.non_local in kinds:
        notes.append(f"mmaction2's config must say non_local_cfg=dict(mode='{kinds[model.non_local]}', …)")
    return notes


def _tam_cfg(model: Network2D) -> str:
    """Return the arguments of mmaction2's TAM that differ from mmaction2's defaults."""
    if model.temporal != "tam":
        return ""
    settings = {
        "alpha": (model.alpha, 2),
        "beta": (model.beta, 4),
        "adaptive_kernel_size": (model.kernel, 3),
        "adaptive_convolution_padding": (model.kernel // 2, 1),
        "conv1d_kernel_size": (model.local_kernel, 3),
    }
    return ", ".join(f"{name}={value}" for name, (value, usual) in settings.items() if value != usual)
