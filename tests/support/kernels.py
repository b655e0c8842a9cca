"""Helpers for the tests of the Triton kernels: the device to run on, and the measurement of errors.

The tests need Triton and a GPU. With TRITON_INTERPRET=1, Triton's interpreter runs the small ones on a CPU.
"""

import math
import os
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The interpreter treats bfloat16 matrices as integer matrices, so bfloat16 is not tested with it.
PRECISIONS = tuple(d for d in DTYPES if not INTERPRETED or d != torch.bfloat16)
FLOOR = 1e-6  # relative error; smaller ones are rounding errors of float32
needs_gpu = pytest.mark.skipif(INTERPRETED, reason="needs a GPU")


def need_triton() -> None:
    """Skip the whole test file if its kernels cannot run on this machine."""
    if find_spec("triton") is None:
        pytest.skip("needs Triton", allow_module_level=True)
    if not (INTERPRETED or torch.cuda.is_available()):
        pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)


def use_backend(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the whole package use the backend "triton" or "torch", on any device."""
    for module in [module for key, module in sys.modules.items() if key.startswith("tanet.")]:
        if "backend_for" in vars(module):
            monkeypatch.setattr(module, "backend_for", lambda *_, **__: name)


def assert_as_exact(
    run: Callable[[torch.dtype], Iterable[torch.Tensor]],
    fused: Callable[[], Iterable[torch.Tensor]],
    *,
    dtype: torch.dtype,
    names: Iterable[str],
    norm: float = math.inf,
) -> None:
    """Check that each fused tensor has at most twice the error of the plain PyTorch code in the same dtype.

    Both errors are measured against float64 by `relative_error`. Use `norm` 2, the mean over all elements,
    for tensors that accumulate many rounding errors.
    """
    for name, exact, plain, ours in zip(names, run(torch.float64), run(dtype), fused(), strict=True):
        assert ours.dtype == plain.dtype, name
        found, allowed = (
            relative_error(ours, exact, norm=norm),
            max(2 * relative_error(plain, exact, norm=norm), FLOOR),
        )
        assert found <= allowed, f"{name}: {found:.1e} > {allowed:.1e}"


def relative_error(value: torch.Tensor, exact: torch.Tensor, *, norm: float = math.inf) -> float:
    """Return |value - exact| / |exact| in the given vector norm: by default the maximum. NaN stays NaN."""
    difference = torch.linalg.vector_norm(value.double() - exact, norm)
    return float(difference / torch.linalg.vector_norm(exact, norm).clamp(min=1e-30))


@pytest.fixture
def nan_buffers():
    """Fill new memory with NaN, so that a test notices an element that no kernel writes."""
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3, device=DEVICE).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled
