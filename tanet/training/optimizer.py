"""The published code's way to learn: what decays, whose learning rate is multiplied, and when it falls.

kind                              learning rate    weight decay
convolution, Linear weight        ×1               yes
bias of a convolution             ×2               no
BatchNorm weight and bias         ×1               no
Linear weight, where `linear_lr_boost`  ×5               yes
Linear bias, where `linear_lr_boost`    ×10              no

All that times `new_layer_lr_scale`, of the classifier, and of temporal modules that no checkpoint gave.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.errors import UserError
from tanet.recipes.recipe import Optim


def param_groups(network: nn.Module, optim: Optim, *, trained: bool = False) -> list[dict[str, Any]]:
    """The network's parameters, each in one group: {name, params, lr, lr_scale, weight_decay}.

    Args:
        network: a VideoNet.
        optim: what they are trained by.
        trained: whether its temporal modules start with trained weights.
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
    """Whether `new_layer_lr_scale` is for a VideoNet's parameter of this name.

    A 2D network's weights give neither classifier nor temporal modules; a video network's (`trained`) give
    the modules, but seldom a classifier for the same classes.
    """
    return parameter.startswith("head.") or (".temporal." in parameter and not trained)


def make_optimizer(network: nn.Module, optim: Optim, *, trained: bool = False) -> torch.optim.Optimizer:
    """The recipe's method over `param_groups`."""
    groups = param_groups(network, optim, trained=trained)
    if optim.method == "sgd":
        sgd = torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, fused=True)
        for param in network.parameters():
            # Else the first step makes them, out of what lies in memory if that step is not taken (step.py).
            sgd.state[param]["momentum_buffer"] = torch.zeros_like(param)
        return sgd
    if optim.method == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.momentum, 0.999), fused=True)
    raise UserError(f"unknown method '{optim.method}': known are sgd, adamw")


def _rule(name: str, module: nn.Module, kind: str, optim: Optim) -> tuple[str, float, bool]:
    if isinstance(module, _BatchNorm):
        return "norm", 1.0, False
    faster = isinstance(module, nn.Linear) and (
        optim.linear_lr_boost == "all" or (optim.linear_lr_boost == "classifier" and name == "head")
    )
    if kind == "bias":
        return ("linear bias", 10.0, False) if faster else ("bias", 2.0, False)
    return ("linear weight", 5.0, True) if faster else ("weight", 1.0, True)
