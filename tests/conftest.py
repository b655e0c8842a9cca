"""What tests share: real data where it is there, and few threads, since tests run side by side."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real clips and weights; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("TANET_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TANET_DATA")
    return folder
