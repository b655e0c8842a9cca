"""Collect the demo's results: TANet against the 2D network on synthetic verbs → results/verbs.csv.

make demo && python -m bench.verbs
"""

import argparse
import csv
from pathlib import Path

from bench.common import ROOT, commit, machine, versions, write_csv
from tanet.demo.page import COMPARED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="folder that `make demo` wrote")
    folder = parser.parse_args().demo
    rows = []
    for temporal in COMPARED:
        with (folder / temporal / "metrics.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        rows.append(
            {
                "commit": commit(),
                "machine": machine(),
                "versions": versions("torch", "av"),
                "temporal": temporal,
                "epochs": last["epoch"],
                "train_top1": round(float(last["train_top1"]), 4),
                "val_top1": round(float(last["val_top1"]), 4),
                "seconds": round(float(last["seconds"])),
            }
        )
    write_csv(ROOT / "results" / "verbs.csv", rows)


if __name__ == "__main__":
    main()
