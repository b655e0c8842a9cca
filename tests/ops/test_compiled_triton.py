"""Modules with Triton kernels have the same gradients with and without torch.compile."""

import copy

import pytest
import torch
from torch import nn

from tanet import TAM
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE
from tanet.models.temporal.temporal_shift import TemporalShift
from tests.support.kernels import DEVICE, PRECISIONS, need_triton, relative_error, use_backend

need_triton()

FRAMES, CHANNELS = 4, 16
MODULES = {
    "tam": lambda: TAM(CHANNELS, frames=FRAMES),
    "tanet-r": lambda: TAM(CHANNELS, frames=FRAMES, order="tanet-r"),
    "wide static kernel": lambda: TAM(CHANNELS, frames=FRAMES, kernel=5, static_kernel="random"),
    "global": lambda: GlobalBranch(frames=FRAMES),
    "global+se": lambda: GlobalSE(CHANNELS, frames=FRAMES),
    "tsm": lambda: TemporalShift(frames=FRAMES),
}


class TwoModules(nn.Module):
    """Two equal modules in a row: the input gradient of the second shows in the weights of the first."""

    def __init__(self, name: str, *, norm: bool) -> None:
        super().__init__()
        self.norm = AbsorbedBatchNorm(CHANNELS) if norm else None
        self.modules_in_a_row = nn.Sequential(MODULES[name](), MODULES[name]())
        if self.norm is not None:
            self.modules_in_a_row[0].absorb_norm(self.norm, "relu")

    def forward(self, x):
        return self.modules_in_a_row(x)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize(("name", "norm"), [*((name, False) for name in MODULES), ("tam", True)], ids=str)
def test_compiled_modules_have_same_gradients(name, norm, dtype, monkeypatch):
    """torch 2.11 silently dropped the gradient of the squeeze in float32."""
    use_backend(monkeypatch, "triton")
    torch.manual_seed(0)
    pair = TwoModules(name, norm=norm).to(DEVICE)
    x = torch.randn(2 * FRAMES, CHANNELS, 4, 3, device=DEVICE, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    weight = torch.randn_like(x)
    found = []
    for backend in (None, "eager", "aot_eager"):
        torch.compiler.reset()
        module, leaf = copy.deepcopy(pair), x.clone().requires_grad_()
        run = torch.compile(module, backend=backend, fullgraph=True) if backend else module
        with torch.autocast(DEVICE.type, dtype, enabled=dtype != torch.float32):
            (run(leaf) * weight).sum().backward()
        grads = {name: parameter.grad for name, parameter in module.named_parameters()}
        assert all(grad is not None for grad in grads.values())
        found.append(grads | {"x": leaf.grad})
    plain, *compiled = found
    for other in compiled:
        for key, grad in plain.items():
            assert relative_error(other[key], grad.double()) <= (1e-5 if dtype == torch.float32 else 2e-2), (
                key
            )
