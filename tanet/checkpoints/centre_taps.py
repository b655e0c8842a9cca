"""Weights of a plain 3D network → weights of the same network with TAMs.

    3×1×1 convolution, BN, ReLU    →    1×1×1 convolution, BN, ReLU, TAM

Each 1×1×1 kernel is the centre tap of the 3×1×1 kernel. So the convolution still sees the frame itself, and
the TAM has to learn to see the neighbouring frames. All other weights stay the same. The TAMs keep their
initial weights.
"""

from collections.abc import Mapping

import torch

TAM, CONV, FIRST = ".temporal.", ".conv1.weight", ".temporal.G.0.weight"


def from_plain(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], str]:
    """Return weights for a network with TAMs, and a note for the user.

    Args:
        state: state dict of a trained network without TAMs.
        own: state dict of the same network with TAMs.
    """
    taken = {
        name: _centre(tensor)
        for name, tensor in state.items()
        if name.endswith(CONV) and name.removesuffix(CONV) + FIRST in own and tensor.shape[2] > 1
    }
    new = {name: tensor for name, tensor in own.items() if TAM in name}
    tams = sum(name.endswith(FIRST) for name in new)
    note = f"{len(taken)} 3×1×1 kernels become 1×1×1 (their centre taps are kept), and {tams} TAMs are new"
    return {**state, **taken, **new}, note


def _centre(kernel: torch.Tensor) -> torch.Tensor:
    """Return the centre tap of a temporal kernel: [O, I, kt, h, w] → [O, I, 1, h, w]."""
    middle = kernel.shape[2] // 2
    return kernel[:, :, middle : middle + 1].clone()
