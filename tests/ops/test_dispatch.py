"""The fused kernels run only on GPUs that can run them."""

from types import SimpleNamespace

import pytest
import torch

from tanet.ops.common import dispatch


def maps(dtype=torch.float32):
    """Return a stand-in for feature maps on a GPU."""
    return SimpleNamespace(is_cuda=True, dtype=dtype, shape=(16, 8, 7, 7), device=torch.device("cuda", 1))


@pytest.mark.parametrize(
    ("capability", "backend"),
    [((6, 0), "torch"), ((7, 5), "torch"), ((8, 0), "triton"), ((8, 9), "triton"), ((12, 0), "triton")],
)
def test_old_gpus_use_operations_of_pytorch(capability, backend, monkeypatch):
    monkeypatch.setattr(dispatch, "TRITON", True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu=None: {1: capability}[gpu])
    assert dispatch.backend_for(maps()) == backend  # type: ignore[arg-type]


def test_choice_is_a_constant_of_a_compiled_graph(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu=None: (7, 5))

    def run(x):
        return x + 1 if dispatch.runs_kernels(x.device.index or 0) else x - 1

    compiled = torch.compile(run, backend="eager", fullgraph=True)
    assert compiled(torch.ones(2)).tolist() == [0, 0]


def test_limits_of_the_kernels(monkeypatch):
    monkeypatch.setattr(dispatch, "TRITON", True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu=None: (9, 0))
    assert dispatch.backend_for(maps(torch.bfloat16)) == "triton"  # type: ignore[arg-type]
    assert dispatch.backend_for(maps(torch.float64)) == "torch"  # type: ignore[arg-type]
    assert dispatch.backend_for(maps(), taps=dispatch.MAX_TAPS + 2) == "torch"  # type: ignore[arg-type]
    assert dispatch.backend_for(maps(), frames=dispatch.MAX_FRAMES + 1) == "torch"  # type: ignore[arg-type]
