"""Compare modules on real videos in folds: accuracy, differences, and what this data set can show.

    python -m projects.compare.ways results/ways.csv --data ways --against tam

The table has a line for each case of which one seed has all folds: accuracy and its standard deviation over
seeds; the share of right directions among right actions; the difference to another case, with its 95 %
confidence interval over groups and seeds; the smallest difference that this comparison detects with 80 %
power; and the number of clips needed to detect a difference of 2 points.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.common import read_csv
from projects.compare.folds import assign, group_of
from projects.compare.statistics import difference, spread

POINTS = 2.0


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that projects.compare.folds wrote")
    parser.add_argument("--against", default="tam", help="case to compare the others with")
    flags = parser.parse_args(words)
    rows = read_csv(flags.rows)
    folds = {row["videos"].rpartition(" of ")[2] for row in rows if "fold " in row["videos"]}
    if len(folds) != 1:
        found = ", ".join(sorted(folds)) or "none"
        raise SystemExit(f"{flags.rows}: rows of one number of folds are needed; found: {found}")
    number = int(*folds)
    rows = [row for row in rows if "fold " in row["videos"]]
    clips = [clip.relative_to(flags.data) for clip in sorted(flags.data.glob("*/*.mp4"))]
    right = answers(rows, clips, folds=number)
    if flags.against not in right:
        raise SystemExit(f"{flags.rows}: '{flags.against}' has no seed whose {number} folds are all there")
    groups = [group_of(clip) for clip in clips]
    print(f"{len(clips)} clips of {len(set(groups))} groups, {number} folds")
    print("| case | seeds | top-1 | way | difference | could show | clips for 2 points |")
    print("|---|---|---|---|---|---|---|")
    reference = right[flags.against]
    for case, own in right.items():
        tops = [100 * float(own[seed].mean()) for seed in sorted(own)]
        ways = [
            100 * float(row["val_order"]) for row in rows if row["case"] == case and int(row["seed"]) in own
        ]
        text = f"| {case} | {len(own)} | {spread(tops)} | {np.mean(ways):.1f} "
        seeds = sorted(own.keys() & reference.keys())
        if case == flags.against or not seeds:
            print(f"{text}| | | |")
            continue
        pair = [np.stack([one[seed] for seed in seeds]) for one in (own, reference)]
        found = difference(pair[0], pair[1], groups)
        needed = len(clips) * (found.smallest / POINTS) ** 2
        print(
            f"{text}| {found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f}) "
            f"| {found.smallest:.1f} | {needed:,.0f} |"
        )


def answers(
    rows: Sequence[dict[str, str]], clips: Sequence[Path], *, folds: int
) -> dict[str, dict[int, np.ndarray]]:
    """Return case → seed → whether each clip was recognised, for the seeds whose folds are all there."""
    of_group = assign(clips, folds=folds)
    fold_of = np.array([of_group[group_of(clip)] for clip in clips])
    found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for row in rows:
        fold = int(row["videos"].rpartition("fold ")[2].partition(" ")[0])
        right = found[row["case"]].setdefault(int(row["seed"]), np.full(len(clips), -1))
        right[fold_of == fold] = [int(digit) for digit in row["right"]]
    whole = {
        case: {seed: right for seed, right in seeds.items() if (right >= 0).all()}
        for case, seeds in found.items()
    }
    return {case: seeds for case, seeds in whole.items() if seeds}


if __name__ == "__main__":
    main()
