"""What the tests of the fused kernels share: a device that runs them, and errors that are measured.

They need a GPU and Triton. Triton's interpreter runs a few small ones on a CPU: TRITON_INTERPRET=1.
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
# The interpreter takes matrices of bfloat16 for matrices of integers.
PRECISIONS = tuple(d for d in DTYPES if not INTERPRETED or d != torch.bfloat16)
FLOOR = 1e-6  # relative; below it float32's own rounding decides
needs_gpu = pytest.mark.skipif(INTERPRETED, reason="needs a GPU")


def need_triton() -> None:
    """Skip the whole file where its kernels can not run."""
    if find_spec("triton") is None:
        pytest.skip("needs Triton", allow_module_level=True)
    if not (INTERPRETED or torch.cuda.is_available()):
        pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)


def choose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let all of the package compute by "triton" or "torch", wherever the tensors are."""
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
    """Each fused tensor errs at most twice as far from float64 as the plain form's in the same precision.

    By `error`; where many roundings add up before the tensor (`norm` 2) by the mean over its elements.
    """
    for name, exact, plain, ours in zip(names, run(torch.float64), run(dtype), fused(), strict=True):
        assert ours.dtype == plain.dtype, name
        found, allowed = error(ours, exact, norm=norm), max(2 * error(plain, exact, norm=norm), FLOOR)
        assert found <= allowed, f"{name}: {found:.1e} > {allowed:.1e}"


def error(value: torch.Tensor, exact: torch.Tensor, *, norm: float = math.inf) -> float:
    """The largest error, as a part of the largest exact value; NaN if there is one; norm 2: the mean's."""
    difference = torch.linalg.vector_norm(value.double() - exact, norm)
    return float(difference / torch.linalg.vector_norm(exact, norm).clamp(min=1e-30))


@pytest.fixture
def nan_buffers():
    """Memory comes filled with NaN, so that an element which nothing writes is seen."""
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3, device=DEVICE).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled
