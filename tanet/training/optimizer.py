"""The optimizer and its parameter groups, as in the published code: learning rates and weight decay.

kind                              learning rate    weight decay
convolution, Linear weight        ×1               yes
bias of a convolution             ×2               no
BatchNorm weight and bias         ×1               no
Linear weight, where `linear_lr_boost`  ×5               yes
Linear bias, where `linear_lr_boost`    ×10              no

The learning rate of the classifier, and of temporal modules whose weights no checkpoint supplied, is also
multiplied by `new_layer_lr_scale`.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.errors import UserError
from tanet.recipes.recipe import Optim


def param_groups(network: nn.Module, optim: Optim, *, trained: bool = False) -> list[dict[str, Any]]:
    """Return the network's parameters in groups {name, params, lr, lr_scale, weight_decay}.

    Args:
        network: a VideoNet; each of its parameters is in exactly one group.
        optim: optimizer settings of the recipe.
        trained: whether the network's temporal modules start with trained weights.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, module in network.named_modules():
        for kind, param in module.named_parameters(recurse=False):
            group, lr_scale, decays = _rule(name, module, kind, optim)
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
    """Tell whether `new_layer_lr_scale` applies to the VideoNet parameter of this name.

    The weights of a 2D network supply neither the classifier nor the temporal modules. The weights of a video
    network (`trained`) supply the temporal modules, but rarely a classifier for the same classes.
    """
    return parameter.startswith("head.") or (".temporal." in parameter and not trained)


def make_optimizer(network: nn.Module, optim: Optim, *, trained: bool = False) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over `param_groups`."""
    groups = param_groups(network, optim, trained=trained)
    if optim.method == "sgd":
        sgd = torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, fused=True)
        for param in network.parameters():
            # Allocate the buffers here: the first step would allocate them otherwise, and would leave them
            # uninitialised if that step is skipped (step.py).
            sgd.state[param]["momentum_buffer"] = torch.zeros_like(param)
        return sgd
    if optim.method == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=True)
    raise UserError(f"unknown method '{optim.method}': choose from sgd, adamw")


def _rule(name: str, module: nn.Module, kind: str, optim: Optim) -> tuple[str, float, bool]:
    if isinstance(module, _BatchNorm):
        return "norm", 1.0, False
    faster = isinstance(module, nn.Linear) and (
        optim.linear_lr_boost == "all" or (optim.linear_lr_boost == "classifier" and name == "head")
    )
    if kind == "bias":
        return ("linear bias", 10.0, False) if faster else ("bias", 2.0, False)
    return ("linear weight", 5.0, True) if faster else ("weight", 1.0, True)
