"""Shared setup: the folder of real data, and one thread per process because tests run in parallel."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Leave the imported modules out of garbage collections, which search through all objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Set one thread again after each test. Some benchmarks use more, and then sums round differently."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real clips and weights; tests that use it are skipped if it is missing."""
    folder = Path(os.environ.get("TANET_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TANET_DATA")
    return folder
