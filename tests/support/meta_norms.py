"""BatchNorms that cost no time on the meta device, for tests that count many networks."""

import pytest
from torch.nn.modules.batchnorm import _BatchNorm


@pytest.fixture
def quick_norms(monkeypatch):
    """Let BatchNorms return their input: its shape is right, and they have no operations that are counted."""
    monkeypatch.setattr(_BatchNorm, "forward", lambda self, x: x)
