"""Tables and plots of the benchmark of modules: differences per seed, significance and speeds."""

import sys

import pytest

from bench.common import read_csv, write_csv
from projects.compare import page, plot
from projects.compare.cases import BENCHMARKS, recipe_id, recipe_of
from projects.compare.plot import Point, bands, frontier
from projects.compare.results import compare, current, lines
from projects.compare.statistics import told_apart


def write_measurements(tmp_path):
    top1 = {"none": (0.40, 0.50), "tsm": (0.80, 0.70), "tam": (0.60, 0.75)}
    rows = [
        {
            "benchmark": "arrow6", "recipe": recipe_id(BENCHMARKS["arrow6"]), "changes": "", "case": case,
            "seed": seed, "start": "ImageNet",
            "classes": 6, "videos": "378 + 210", "made": "", "views": "4 x 3", "epochs": 70,
            "machine": "a GPU", "val_top1": value, "val_order": value, "val_action": 1.0,
        }
        for case, values in top1.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    rows.append(rows[0] | {"case": "pool", "seed": 7, "val_top1": 0.5})  # a seed without a run of TAM
    rows.append(rows[2] | {"recipe": "of before", "val_top1": 0.1})
    write_csv(tmp_path / "compare.csv", rows)
    speeds = [
        {"benchmark": "arrow6", "changes": "", "case": case, "clips": 32, "size": 128, "ms_p50": 3.2 * ms,
         "clips_s": 1e4 / ms, "precision": "bfloat16", "machine": "a GPU"}
        for ms, case in enumerate(top1, start=1)
    ]  # fmt: skip
    write_csv(tmp_path / "speed.csv", speeds)
    return ["--data", str(tmp_path / "compare.csv"), "--speed", str(tmp_path / "speed.csv")]


def write_page(tmp_path, monkeypatch, flags=()):
    """Write the page from these measurements, and from no other tables than the flags name."""
    out = tmp_path / "compare.md"
    (tmp_path / "none").touch()
    words = [
        word
        for name in ("static", "folds", "distilled", "systems")
        for word in (f"--{name}", str(tmp_path / "none"))
    ]
    words = ["page", *words, "--data", str(tmp_path / "compare.csv"), "--speed", str(tmp_path / "speed.csv")]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out), *flags])
    page.main()
    return out.read_text()


def test_table_pairs_seeds_and_shows_figures_of_paper(tmp_path, monkeypatch):
    out = tmp_path / "compare.md"
    out.write_text("# What is seen\n\n" + page.MARK + "\nof yesterday\n")
    write_measurements(tmp_path)
    text = write_page(tmp_path, monkeypatch)
    assert text.startswith("# What is seen\n\n" + page.MARK)
    assert "of yesterday" not in text
    out.write_text("A page of somebody's.")
    with pytest.raises(SystemExit, match="would be lost"):
        page.main()
    row = next(line for line in text.splitlines() if line.startswith("| `tsm`"))
    assert "| 5,000 | 75.0 ± 7.1 | +7.5 ± 17.7 | 100.0 ± 0.0 | 75.0 ± 7.1 | 2 | 74.1 |" in row
    assert "2.23 M" in row  # parameters of MobileNetV2 with six classes
    assert "| 50.0 |  | 100.0 | 40.0 | 1 | 73.1 |" in text  # no run of TAM with the same seed
    assert "Rank correlation" not in text  # omitted for only four rows
    assert "Table 1a" not in text


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--static", "other.csv"], "other.csv: lacks the columns benchmark, recipe, changes, "),
        (["--folds", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--clips", "nowhere"], "nowhere: no such folder or list of clips"),
    ],
)
def test_file_of_another_kind_is_named(flags, line, tmp_path, monkeypatch):
    write_measurements(tmp_path)
    write_csv(tmp_path / "other.csv", [{"a": 1}])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=line):
        write_page(tmp_path, monkeypatch, flags)


def test_page_lists_accuracy_per_action_below_each_set(tmp_path, monkeypatch):
    write_measurements(tmp_path)
    ways = tmp_path / "ways.csv"
    rows = [
        row | {"val_ways": f"Archery {told}; Diving 1.0000"}
        for row, told in zip(read_csv(tmp_path / "compare.csv")[:3], (0.5, 0.6, 0.9), strict=True)
    ]
    write_csv(ways, [*rows, rows[0] | {"recipe": "of before"}, rows[0] | {"videos": "others"}])
    text = write_page(tmp_path, monkeypatch, ["--ways", str(ways)])
    assert "| set | row | start | Archery | Diving |" in text
    assert "| all | `none` | ImageNet | 55.0 ± 7.1 | 100.0 ± 0.0 |" in text
    assert "| all | `tsm` | ImageNet | 90.0 | 100.0 |" in text
    assert "Seed 0, 1, trained on a GPU." in text


def test_page_has_static_kernels_and_systems(tmp_path, monkeypatch):
    write_measurements(tmp_path)
    extra = []
    recipe = recipe_id(recipe_of("synthetic", ""))
    row = {"benchmark": "synthetic", "recipe": recipe, "changes": "", "videos": "20 + 10", "start": "scratch",
           "made": "", "classes": 10, "val_action": 0.9, "val_order": 0.9, "without_s": "",
           "without_g": ""}  # fmt: skip
    for name, cases in (("static", ("tam", page.STATIC_CASE)), ("systems", ("slowfast", "slowfast tam"))):
        rows = [row | {"case": case, "seed": seed, "val_top1": 0.6 + 0.1 * place + 0.01 * seed}
                for place, case in enumerate(cases) for seed in (0, 1)]  # fmt: skip
        write_csv(tmp_path / f"{name}.csv", rows)
        extra += [f"--{name}", str(tmp_path / f"{name}.csv")]
    clips = [f"Diving{end}/g{group}__1.mp4" for end in ("", "Reversed") for group in range(2)]
    (tmp_path / "clips.txt").write_text("\n".join(clips) + "\n")
    rows = [{"case": case, "seed": 0, "videos": f"2 + 2, fold {fold} of 2", "right": right,
             "val_action": 1.0, "val_order": 0.9}
            for fold in (0, 1)
            for case, right in (("tam", "00"), (page.STATIC_CASE, "11"), ("tsm", "11"))]  # fmt: skip
    write_csv(tmp_path / "folds.csv", rows[:-1])
    write_csv(tmp_path / "distilled.csv", rows)
    extra += ["--distilled", str(tmp_path / "distilled.csv")]
    extra += ["--folds", str(tmp_path / "folds.csv"), "--clips", str(tmp_path / "clips.txt")]
    times = [{"benchmark": "synthetic", "changes": "", "case": case, "clips": 8, "size": 80, "ms_p50": 80,
              "clips_s": 100, "precision": "float32", "machine": "a CPU"} for case in cases]  # fmt: skip
    write_csv(tmp_path / "times.csv", times)
    extra += ["--systems-speed", str(tmp_path / "times.csv")]
    text = write_page(tmp_path, monkeypatch, extra)
    assert "| `tam` | 60.5 ± 0.7 | 90.0 ± 0.0 | 90.0 ± 0.0 | +10.0 ± 4.5 \\* | 2 |" in text
    real, distilled = text.partition("### On real videos: ways")[2].split("### On real videos, after")
    row = "| `tam` | 1 | 0.0 | 100.0 | 90.0 | +100.0 (+100.0 to +100.0) \\* | 0.0 | 0 |"
    assert row in real
    assert row in distilled
    assert "| `tsm` | 1 |" not in real  # it lacks a fold
    assert "| `tsm` | 1 |" in distilled
    assert "| `slowfast tam` | 4.02 M | 0.96 | 10.000 | 70.5 ± 0.7 | 2 |" in text


def test_sets_with_other_settings_get_own_table_next_to_default_set(tmp_path, monkeypatch):
    flags = write_measurements(tmp_path)
    rows = read_csv(tmp_path / "compare.csv")
    # Rows of tsm and tam with both seeds.
    still = [row | {"made": "camera=0", "val_top1": 0.9} for row in rows[2:6]]
    write_csv(tmp_path / "compare.csv", [*rows, *still])
    text = write_page(tmp_path, monkeypatch)
    assert "| row | start | all | camera=0 |" in text
    assert "| `tsm` | ImageNet | 75.0 ± 7.1 (+7.5 ± 17.7) | 90.0 ± 0.0 (+0.0 ± 0.0) |" in text
    assert "| `tam` | ImageNet | 67.5 ± 10.6 | 90.0 ± 0.0 |" in text
    assert "| 5,000 | 75.0 ± 7.1 |" in text  # Table 2 contains only the default set
    write_csv(tmp_path / "compare.csv", still)
    text = write_page(tmp_path, monkeypatch)
    assert "| row | start | camera=0 |" in text
    assert "| `tsm` | ImageNet | 90.0 ± 0.0 (+0.0 ± 0.0) |" in text
    write_csv(tmp_path / "compare.csv", [*rows, *still])
    monkeypatch.setattr(
        sys, "argv", ["plot", "--benchmark", "arrow6", *flags, "--out", str(tmp_path / "a.svg")]
    )
    plot.main()


def test_significance_bound_matches_dunnetts_table():
    five = dict(enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)))  # their variance is 0.625
    error = (2 / 5 * 0.625) ** 0.5

    def marks(errors, others):
        higher = {seed: value + errors * error for seed, value in five.items()}
        return told_apart([five, higher, *[five] * (others - 1)], [None, *[0] * others])

    for others, bound in ((1, 2.31), (2, 2.51), (4, 2.65)):  # for 8, 12 and 20 degrees of freedom
        assert marks(bound - 0.03, others) == [False] * (others + 1)
        assert marks(bound + 0.03, others) == [False, True] + [False] * (others - 1)
    assert told_apart([{0: 1.0}, {0: 9.0}], [None, 0]) == [False, False]  # one seed is too few
    assert told_apart([{0: 1.0, 1: 1.1}, {2: 9.0, 3: 9.1}], [None, 0]) == [False, False]  # no seed in common


def test_differences_are_to_tam_with_same_start_and_backbone(tmp_path):
    write_measurements(tmp_path)
    rows = current(read_csv(tmp_path / "compare.csv"))
    rows.append(rows[2] | {"start": "scratch", "val_top1": "0.3"})  # tsm, seed 0
    found = {(of.line.case.name, of.line.start): of for of in compare(lines("2", "arrow6", "", rows, []))}
    assert found["tsm", "ImageNet"].differences == pytest.approx([20, -5])
    assert found["tsm", "scratch"].line.top1 == {0: pytest.approx(30)}
    assert found["tsm", "scratch"].differences == []
    for name, value in (("none", "0.30"), ("tam", "0.42")):
        rows.append(rows[0] | {"case": f"{name} backbone=resnet50", "val_top1": value})
    by_name = {of.line.row: of for of in compare(lines("3", "arrow6", "", rows, []))}
    assert by_name["resnet50-none"].differences == pytest.approx([-12])
    assert by_name["resnet50-tam"].differences == []
    assert by_name["mobilenet_v2-none"].differences == pytest.approx([-20, -25])


def test_row_of_tam_uses_seeds_of_other_rows(tmp_path):
    write_measurements(tmp_path)
    rows = current(read_csv(tmp_path / "compare.csv"))
    rows.append(next(row for row in rows if row["case"] == "tam") | {"seed": "5"})
    tam = next(line for line in lines("2", "arrow6", "", rows, []) if line.row == "tam")
    assert tam.top1.keys() == tam.order.keys() == {0, 1}


def test_speeds_of_several_machines_are_rejected(tmp_path, monkeypatch):
    write_measurements(tmp_path)
    speeds = read_csv(tmp_path / "speed.csv")
    other = {"changes": "eval.size=40", "clips_s": "1", "machine": "another GPU"}
    write_csv(tmp_path / "speed.csv", [*speeds, *(row | other for row in speeds)])
    assert "| 5,000 | 75.0" in write_page(tmp_path, monkeypatch)
    write_csv(tmp_path / "speed.csv", [*speeds, speeds[0] | {"machine": "another GPU"}])
    line = "arrow6 was timed under several conditions; keep the rows of one: .* on a GPU; .* on another GPU"
    with pytest.raises(SystemExit, match=line):
        page.main()
    with pytest.raises(ValueError, match=line):
        page.timed(read_csv(tmp_path / "speed.csv"), "arrow6", "")


def test_plot_is_written_from_measurements(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    out = tmp_path / "compare.svg"
    monkeypatch.setattr(
        sys, "argv", ["plot", "--benchmark", "arrow6", *write_measurements(tmp_path), "--out", str(out)]
    )
    plot.main()
    assert out.read_text().startswith("<?xml")


def test_plot_has_frontier_and_axis_bands():
    points = [Point("a", 1, 50, 0), Point("b", 2, 40, 1), Point("c", 3, 60, 0), Point("d", 1.01, 50.1, 0)]
    assert [point.name for point in frontier(points)] == ["a", "d", "c"]
    assert bands(points) == [(60, 60), (50, 50.1), (39, 41)]
    assert bands(points[:2]) == [(50, 50), (39, 41)]
    assert bands([*points, Point("e", 3, 55, 0), Point("f", 2, 46, 1)]) == [(39, 60)]
    assert bands(points[:1]) == [(50, 50)]
