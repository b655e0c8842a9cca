"""The optimizer and its parameter groups. Learning rates and weight decay follow the published code.

parameter                               learning rate    weight decay
weight of a convolution or Linear       ×1               yes
bias of a convolution or Linear         ×2               no
weight or bias of a BatchNorm           ×1               no
weight of a boosted Linear              ×5               yes
bias of a boosted Linear                ×10              no

With `biases` = "like-weights", each bias of a convolution or Linear has the learning rate and the weight
decay of its layer's weight, as in PySlowFast.

`linear_lr_boost` selects the Linear layers that are boosted: all, only the classifier, or none.
`first_conv_lr_scale` multiplies the learning rates of the first convolution.
`new_layer_lr_scale` multiplies the learning rates of new layers as well. New layers are the classifier, and
temporal modules that get no weights from a checkpoint. Frozen parameters are in no group.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.errors import UserError
from tanet.models.input_channels import first_conv
from tanet.recipes.recipe import Optim


def param_groups(network: nn.Module, optim: Optim, *, trained: bool = False) -> list[dict[str, Any]]:
    """Return the parameter groups of a network: dicts with name, params, lr, lr_scale and weight_decay.

    Args:
        network: a Network. Each parameter that is not frozen is in exactly one group.
        optim: optimizer settings of the recipe.
        trained: whether the network's temporal modules start from trained weights.
    """
    groups: dict[str, dict[str, Any]] = {}
    first = first_conv(network)[0] if optim.first_conv_lr_scale != 1 else None
    for name, module in network.named_modules():
        for kind, param in module.named_parameters(recurse=False):
            if not param.requires_grad:
                continue
            group, lr_scale, decays = _rule(name, module, kind, optim)
            if name == first:
                group, lr_scale = f"first {group}", optim.first_conv_lr_scale * lr_scale
            if optim.new_layer_lr_scale != 1 and is_fresh(f"{name}.{kind}", trained=trained):
                group, lr_scale = f"fresh {group}", optim.new_layer_lr_scale * lr_scale
            values = {
                "name": group,
                "params": [],
                "lr": optim.lr * lr_scale,
                "lr_scale": lr_scale,
                "weight_decay": optim.weight_decay if decays else 0.0,
            }
            groups.setdefault(group, values)["params"].append(param)
    return list(groups.values())


def is_fresh(parameter: str, *, trained: bool = False) -> bool:
    """Tell whether a parameter belongs to a new layer, so that `new_layer_lr_scale` applies to it.

    The classifier always counts as new, because a checkpoint rarely has the same classes.
    The temporal modules are new if the initial weights come from a 2D network, which has no temporal modules.
    The temporal modules are not new if the initial weights come from a video network (`trained`).

    Args:
        parameter: name of the parameter in a Network.
        trained: whether the temporal modules start from trained weights.
    """
    return parameter.startswith("head.") or (".temporal." in parameter and not trained)


def make_optimizer(network: nn.Module, optim: Optim, *, trained: bool = False) -> torch.optim.Optimizer:
    """Build the optimizer that a recipe describes. Its parameter groups are those of `param_groups`."""
    groups = param_groups(network, optim, trained=trained)
    if optim.method == "sgd":
        sgd = torch.optim.SGD(
            groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=True
        )
        for param in (param for group in groups for param in group["params"]):
            # Fill the momentum buffers with zeros now, because the first step may be skipped (step.py).
            # A skipped first step would allocate the momentum buffers, but leave them uninitialised.
            sgd.state[param]["momentum_buffer"] = torch.zeros_like(param)
        return sgd
    if optim.method == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=True)
    raise UserError(f"unknown optimizer method '{optim.method}': choose from sgd, adamw")


def _rule(name: str, module: nn.Module, kind: str, optim: Optim) -> tuple[str, float, bool]:
    if isinstance(module, _BatchNorm):
        return "norm", 1.0, False
    faster = isinstance(module, nn.Linear) and (
        optim.linear_lr_boost == "all" or (optim.linear_lr_boost == "classifier" and name == "head")
    )
    if kind == "bias" and optim.biases == "published":
        return ("linear bias", 10.0, False) if faster else ("bias", 2.0, False)
    return ("linear weight", 5.0, True) if faster else ("weight", 1.0, True)
