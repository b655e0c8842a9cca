"""The kernels for TAM's branches in training match PyTorch's modules: outputs, gradients and statistics."""

import copy

import numpy as np
import pytest
import torch

from tanet import TAM
from tanet.models.temporal.tam_branches import aggregation_kernel, rows_to_clips
from tanet.models.temporal.tam_training import train_branches
from tests.support.kernels import DEVICE, FLOOR, INTERPRETED, PRECISIONS, need_triton, relative_error
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

NAMES = ("gate", "kernel", "mean of G", "var of G", "mean of L", "var of L", "ds")
CASES = [  # clips, frames, channels, settings
    (3, 4, 17, {}),
    (2, 8, 64, {"static_kernel": "random"}),
    (5, 3, 40, {"kernel": 5, "local_kernel": 5}),
    (9, 8, 20, {"local_kernel": 1, "beta": 1}),
    (70, 1, 16, {}),
    (2, 16, 136, {"alpha": 3}),
]
DRAWS = 3
if not INTERPRETED:
    CASES += [(32, 8, 512, {}), (100, 8, 256, {"static_kernel": "shift"}), (3, 64, 96, {})]


def make(clips, frames, channels, settings, *, seed, dtype):
    """Return a TAM in float64, the means s of its input maps, and the weights of the loss.

    For 16-bit types, biases keep the inputs of the ReLU far from 0. Otherwise rounding could move one across
    0, in the kernel or in the reference, and change gradients by several per cent.
    """
    torch.manual_seed(seed)
    tam = TAM(channels, frames=frames, **settings).double().to(DEVICE)
    for branch in (tam.G, tam.L):
        torch.nn.init.normal_(branch[1].weight, 1, 0.2)
        torch.nn.init.normal_(branch[1].bias, 0, 0.5)
        if dtype.itemsize == 2:
            branch[1].bias.data = 4 * branch[1].bias.data.sign()
    s = 5 + torch.randn(clips * frames, channels, dtype=torch.float64)
    weights = torch.randn(2, clips, frames, channels, dtype=torch.float64)
    return tam, s.to(DEVICE), weights.to(DEVICE)


def results(tam, s, weights, gate, kernel):
    """Return the outputs, the statistics of the batch, and the gradients of s and of all parameters."""
    steps = 1 + torch.arange(kernel.shape[2], device=DEVICE)
    loss = (gate * weights[0].mT).sum() + (kernel * weights[1, :, :1].mT * steps).sum()
    gradients = torch.autograd.grad(loss, (s, *tam.parameters()))
    statistics = []
    for norm, count in ((tam.G[1], s.numel() // tam.frames), (tam.L[1], s.shape[0])):
        statistics += [norm.running_mean / 0.1, (norm.running_var - 0.9) / 0.1 * (count - 1) / count]
    return [gate.detach(), kernel.detach(), *statistics, *gradients]


def plain(tam, s, weights, *, precision):
    """Return the results of the modules in this precision, 16 bits by autocast."""
    reference = copy.deepcopy(tam) if precision == torch.float64 else copy.deepcopy(tam).float()
    rows, half = s.to(precision).requires_grad_(), precision.itemsize == 2
    with torch.autocast(DEVICE.type, precision if half else torch.bfloat16, enabled=half):
        gate = rows_to_clips(reference.L(rows), tam.frames)
        kernel = aggregation_kernel(reference.G, rows, tam.frames, static=reference.S)
    return results(reference, rows, weights, gate, kernel)


def fused(tam, s, weights):
    """Return the results of the kernels."""
    ours, rows = copy.deepcopy(tam).float(), s.detach().requires_grad_()
    branches = train_branches(ours.G, ours.L, rows, frames=tam.frames, static=ours.S)
    return results(ours, rows, weights, *branches)


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_branches_match_modules(case, dtype):
    """In 16 bits as under autocast, where s has 16 bits and the parameters have 32.

    The median over several draws is compared: in one draw, rounding errors may cancel, or in float32 a hidden
    value near 0 may round to the other side of the ReLU.
    """
    errors = []  # of each draw: (ours, reference) for each result
    for seed in range(DRAWS):
        tam, s, weights = make(*case, seed=seed, dtype=dtype)
        s = s.to(dtype)
        exact, reference = (plain(tam, s, weights, precision=p) for p in (torch.float64, dtype))
        sides = fused(tam, s, weights), reference
        errors.append(
            [[relative_error(*pair, norm=2) for pair in zip(side, exact, strict=True)] for side in sides]
        )
    names = [*NAMES, *(f"d {name}" for name, _ in tam.named_parameters())]
    for name, found, allowed in zip(names, *np.median(errors, axis=0), strict=True):
        # s has a mean of five standard deviations, as after a ReLU, so float32 loses a digit.
        assert found <= max(2 * allowed, 3 * FLOOR), f"{name}: {found:.1e} > 2 · {allowed:.1e}"
