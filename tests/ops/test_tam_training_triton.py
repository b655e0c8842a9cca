"""The kernels for TAM's branches in training match PyTorch's modules: outputs, gradients and statistics."""

import copy

import numpy as np
import pytest
import torch

from tanet import TAM
from tanet.models.temporal.tam_branches import aggregation_kernel, rows_to_clips
from tests.support.kernels import DEVICE, FLOOR, INTERPRETED, PRECISIONS, need_triton, relative_error
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

from tanet.ops.tam_training.triton_autograd import Branches  # noqa: E402

NAMES = ("gate", "kernel", "mean of G", "var of G", "mean of L", "var of L", "ds")
CASES = [  # clips, frames, channels, settings
    (3, 4, 17, {}),
    (2, 8, 64, {"kernel_prior": "random"}),
    (5, 3, 40, {"kernel": 5, "local_kernel": 5}),
    (9, 8, 20, {"local_kernel": 1, "beta": 1}),
    (70, 1, 16, {}),
    (2, 16, 136, {"alpha": 3}),
]
DRAWS = 3
if not INTERPRETED:
    CASES += [(32, 8, 512, {}), (100, 8, 256, {"kernel_prior": "shift"}), (3, 64, 96, {})]


def make(clips, frames, channels, settings, *, seed):
    torch.manual_seed(seed)
    tam = TAM(channels, frames=frames, **settings).double().to(DEVICE)
    for branch in (tam.G, tam.L):
        torch.nn.init.normal_(branch[1].weight, 1, 0.2)
        torch.nn.init.normal_(branch[1].bias, 0, 0.5)
    s = 5 + torch.randn(clips * frames, channels, dtype=torch.float64)
    weights = torch.randn(2, clips, frames, channels, dtype=torch.float64)
    return tam, s.to(DEVICE), weights.to(DEVICE)


def results(tam, s, weights, outputs):
    """Return the outputs, and the gradients of s and of all parameters."""
    gate, kernel, *statistics = outputs
    steps = 1 + torch.arange(kernel.shape[1], device=DEVICE)[:, None]
    loss = (gate * weights[0]).sum() + (kernel * weights[1, :, :1] * steps).sum()
    gradients = torch.autograd.grad(loss, (s, *tam.parameters()))
    return [gate.detach(), kernel.detach(), *statistics, *gradients]


def plain(tam, s, weights, *, precision):
    """Return the results of the modules in this precision, 16 bits by autocast."""
    reference = copy.deepcopy(tam) if precision == torch.float64 else copy.deepcopy(tam).float()
    rows, half = s.to(precision).requires_grad_(), precision.itemsize == 2
    images, channels = s.shape
    with torch.autocast(DEVICE.type, precision if half else torch.bfloat16, enabled=half):
        gate = rows_to_clips(reference.L(rows), tam.frames)
        kernel = aggregation_kernel(reference.G, rows, tam.frames, prior=reference.P)
    statistics = []
    for norm, count in ((reference.G[1], images // tam.frames * channels), (reference.L[1], images)):
        statistics += [norm.running_mean / 0.1, (norm.running_var - 0.9) / 0.1 * (count - 1) / count]
    return results(reference, rows, weights, (gate.mT, kernel.mT, *statistics))


def fused(tam, s, weights):
    """Return the results of the kernels."""
    ours, rows = copy.deepcopy(tam).float(), s.detach().requires_grad_()
    g, l = ([b[0].weight, *b[1].parameters(), b[3].weight] for b in (ours.G, ours.L))  # noqa: E741
    outputs = Branches.apply(rows, tam.frames, ours.G[1].eps, ours.L[1].eps, ours.P, *g, *l)
    return results(ours, rows, weights, outputs)


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_branches_match_modules(case, dtype):
    """In 16 bits as under autocast, where s has 16 bits and the parameters have 32.

    The median over several draws is compared: in one draw, rounding errors may cancel, or a hidden value
    near 0 may round to the other side of the ReLU.
    """
    errors = []  # of each draw: (ours, reference) for each result
    for seed in range(DRAWS):
        tam, s, weights = make(*case, seed=seed)
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
