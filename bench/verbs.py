"""Collect the accuracies of TANet and C2D after `make demo`.

    make demo && python -m bench verbs

The demo trains both networks on synthetic verbs.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from bench.common import ROOT
from tanet.demo.page import COMPARED

PACKAGES = ("torch", "av")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="folder that `make demo` wrote")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for temporal in COMPARED:
        metrics = flags.demo / temporal / "metrics.csv"
        if not metrics.exists():
            raise SystemExit(f"{metrics}: no such file; run `make demo` first")
        with metrics.open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        yield {
            "temporal": temporal,
            "epochs": last["epoch"],
            "train_top1": round(float(last["train_top1"]), 4),
            "val_top1": round(float(last["val_top1"]), 4),
            "seconds": round(float(last["seconds"])),
        }
