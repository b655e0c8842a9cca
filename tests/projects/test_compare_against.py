"""One case against all others, and the plot of whole systems."""

import pytest

from bench.common import write_csv
from projects.compare import against, plot_systems
from projects.compare.cases import recipe_id, recipe_of


def row(case, seed, top1, **others):
    values = {"benchmark": "synthetic", "changes": "", "made": "", "case": case, "seed": str(seed)}
    values |= {"recipe": "1", "videos": "9 + 3", "start": "scratch"}
    shares = {"val_top1": str(top1), "val_action": "0.9", "val_order": "0.8", "classes": "10"}
    return values | shares | {"without_s": "", "without_g": ""} | others


def test_leads_are_marked_if_significant(tmp_path, capsys):
    rows = []
    for seed, noise in enumerate((-0.01, 0.0, 0.01, 0.0)):
        rows += [row("tam", seed, 0.70 + noise), row("tsm", seed, 0.80 + noise)]
        rows.append(row("tam static_kernel=shift", seed, 0.805 + noise, without_s="0.3", without_g="0.7"))
    rows += [row("tsm", 9, 0.1)]  # a seed that the case lacks
    rows += [row("local static_kernel=shift", seed, 0.805) for seed in (0, 1)]  # seeds that both have count
    rows += [row("tam", 0, 0.9, made="camera=0"), row("tam static_kernel=shift", 0, 0.95, made="camera=0")]
    write_csv(tmp_path / "a.csv", rows)
    against.main([str(tmp_path / "a.csv"), "--case", "tam static_kernel=shift"])
    text = capsys.readouterr().out
    assert "**synthetic, 9 + 3, scratch**\n\nSeeds 0 to 3." in text
    values = "80.5 ± 0.8 | 90.0 ± 0.0 | 80.0 ± 0.0 | 30.0 ± 0.0 | 70.0 ± 0.0"
    first = f"| `tam static_kernel=shift` | {values} |  | 4 |"
    second, third = (line for line in text.splitlines() if line.startswith(("| `tsm`", "| `tam` | 70")))
    assert text.index(first) < text.index(second) < text.index(third)
    assert "|  |  | +0.5 ± 1." in second
    assert "*" not in second
    assert "|  |  | +10.5 ± 1." in third
    assert third.endswith("\\* | 4 |")
    assert "| `local static_kernel=shift` | 80.5 ± 0.0 |" in text
    assert "| -0.5 ± " in text
    assert "**synthetic, 9 + 3, scratch, camera=0**" in text
    assert "| `tam` | 90.0 | 90.0 | 80.0 |  |" in text  # one seed: no test


def test_stricter_level_widens_the_intervals(tmp_path, capsys):
    """With two groups of three seeds, Student's t of 4 degrees has 2.776 at 5 % and 4.604 at 1 %."""
    rows = []
    for seed, noise in ((1, -0.01), (5, 0.0), (6, 0.01)):
        rows += [row("tsm", seed, 0.70 + noise), row("x", seed, 0.73 - noise)]
    write_csv(tmp_path / "a.csv", rows)
    for level, margin, mark in (("5", 2.3, " \\*"), ("1", 3.8, "")):
        against.main([str(tmp_path / "a.csv"), "--case", "x", "--level", level])
        text = capsys.readouterr().out
        assert f"| +3.0 ± {margin}{mark} | 3 |" in text
        assert "Seeds 1, 5, 6." in text
    with pytest.raises(SystemExit):
        against.main([str(tmp_path / "a.csv"), "--case", "x", "--level", "0"])
    assert "0 is not between 0 and 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([row("tam", 0, 0.5)], "no row of 'x'; its cases: tam"),
        ([row("tam", 0, 0.5), row("x", 1, 0.5)], "'tam' and 'x' have no seed in common"),
        ([row("x", 0, 0.5), row("x", 0, 0.6)], "'x' has two rows of seed 0"),
    ],
)
def test_what_cannot_be_compared_gives_one_line(rows, line, tmp_path):
    write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(SystemExit, match=line):
        against.main([str(tmp_path / "a.csv"), "--case", "x"])


def test_systems_are_plotted_against_cost_and_time(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    recipe = recipe_id(recipe_of("synthetic", ""))
    cases = ("tsm", 0.8), ("slowfast", 0.7)
    rows = [row(case, seed, top1, recipe=recipe) for case, top1 in cases for seed in (0, 1)]
    write_csv(tmp_path / "a.csv", [*rows, row("tsm", 2, 0.1, recipe="another")])
    timed = {"benchmark": "synthetic", "changes": "", "size": "80", "clips": "32", "precision": "bfloat16"}
    timed |= {"machine": "a GPU", "clips_s": "4000", "ms_p50": "8"}
    speeds = [timed | {"case": case} for case in ("tsm", "slowfast")]
    write_csv(tmp_path / "speed.csv", speeds)
    out = tmp_path / "systems.svg"
    plot_systems.main([str(tmp_path / "a.csv"), "--speed", str(tmp_path / "speed.csv"), "--out", str(out)])
    text = capsys.readouterr().out
    assert "Timed 32 clips at a time in bfloat16 on a GPU." in text
    assert text.index("| `tsm` | 0.70 M |") < text.index("| `slowfast` |")
    assert "| 0.250 | 70.0 ± 0.0 | 2 |" in text
    assert out.read_text().startswith("<?xml")
    write_csv(tmp_path / "none.csv", [speed | {"case": "other"} for speed in speeds])
    with pytest.raises(SystemExit, match="no system is in both"):
        plot_systems.main([str(tmp_path / "a.csv"), "--speed", str(tmp_path / "none.csv")])
    with pytest.raises(SystemExit, match=r"a.csv: lacks the columns .*clips_s.*another command's file"):
        plot_systems.main([str(tmp_path / "a.csv"), "--speed", str(tmp_path / "a.csv")])
