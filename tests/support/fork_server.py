"""Processes that start quickly, because they share one import of PyTorch."""

from multiprocessing import get_context

import pytest

CONTEXT = get_context("forkserver")
# A pytest process has one server, so all modules that its processes need are listed here.
CONTEXT.set_forkserver_preload(
    ["tanet.training.trainer", "tanet.data.shards.read", "tanet.data.tools.pack", "tanet.data.tools.check"]
)


@pytest.fixture(autouse=True)
def quick_pool(monkeypatch):
    """Let `map_files` take its processes from the server, in tests that are not about how processes start."""
    monkeypatch.setattr("tanet.runtime.process_pool.SPAWN", CONTEXT)


@pytest.fixture(autouse=True)
def quick_teams(monkeypatch):
    """Let benchmarks and comparisons take their processes from the server."""
    for module in ("bench.process_groups", "projects.compare.parallel_runs"):
        monkeypatch.setattr(f"{module}.get_context", lambda _: CONTEXT)
