"""The scaling benchmark computes its rows correctly, isolates failing teams, and runs on a CPU."""

from functools import partial

import numpy as np
import pytest

from bench.__main__ import run
from bench.common import read_csv
from bench.process_groups import Team
from bench.scaling import FORMS, Case, Setting, differ, make_rows
from tests.support.fork_server import quick_teams as quick_teams

SETTING = Setting(device="cuda", backbone="resnet50", clips=32, size=224, steps=20)


def worker(text, group, device):
    """Return a function that answers with rank, world size and device. Rank 1 fails on the word `text`."""

    def answer(word):
        if word == text and group.rank == 1:
            raise ValueError("no more")
        return group.rank, group.world_size, device.type

    return answer


def test_ratio_is_speed_relative_to_one_gpu():
    eager, compiled, synced = FORMS
    cases = [
        Case(form, gpus, None, times=[0.5 * ms, ms, ms, ms, 3 * ms])
        for form, gpus, ms in ((eager, 1, 80), (eager, 4, 100), (compiled, 1, 50), (synced, 2, 160))
    ]
    rows = make_rows(cases, SETTING)
    assert [row["ratio"] for row in rows] == ["1.000", "3.200", "1.000", "1.000"]
    assert rows[1]["clips_s_p50"] == f"{4 * 32 / 0.1:.1f}"


def test_different_weights_of_ranks_are_detected():
    far = np.array([1.0, -2.0])
    assert differ([far, far * (1 + 1e-6)]) == ""
    assert differ([far, far * 1.01]) == "process 1 has other weights than process 0"
    assert differ([far, far * 0]) == "process 1 has not changed its weights"
    assert differ([far * np.nan, far]) == "process 0 had steps that were not finite"


@pytest.mark.slow
def test_failing_team_does_not_affect_other_team():
    teams = [Team("x", gpus=2, make=partial(worker, text), device="cpu") for text in ("go", "-")]
    try:
        for team in teams:
            team.wait()
        assert teams[0].ask("come") == [(0, 2, "cpu"), (1, 2, "cpu")]
        assert teams[0].ask("go") == teams[0].ask("come") == []
        assert teams[0].error == "process 1: ValueError: no more"
        assert teams[1].ask("go") == [(0, 2, "cpu"), (1, 2, "cpu")]
    finally:
        for team in teams:
            team.end()
    assert not any(process.is_alive() for team in teams for process in team.processes)


@pytest.mark.slow
def test_scaling_benchmark_runs_on_cpu(tmp_path):
    words = ["--device", "cpu", "--gpus", "1", "2", "--forms", "eager", "--backbone", "resnet18_w16"]
    words += ["--size", "32", "--clips", "2", "--steps", "2", "--blocks", "2", "--out", str(tmp_path / "out")]
    run("scaling", words)
    one, two = read_csv(tmp_path / "out")
    assert (one["gpus"], one["ratio"], one["average_ms"]) == ("1", "1.000", "")
    assert float(two["ratio"]) == pytest.approx(2 * float(one["ms_p50"]) / float(two["ms_p50"]), rel=1e-2)
    with pytest.raises(SystemExit, match="must be positive and include 1, because"):
        run("scaling", [*words, "--gpus", "2"])
