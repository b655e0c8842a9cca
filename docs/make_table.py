"""Write the table of temporal modules in README.md.

    python -m docs.make_table

The GFLOPs are counted by this command. The accuracies come from `results/compare.csv` and from the paper.
"""

import argparse

from bench.common import ROOT, read_csv
from projects.compare.results import current, lines
from projects.compare.statistics import spread
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes import find_recipe
from tanet.recipes.paper.table2 import TABLE2

README = ROOT / "README.md"
BEGIN, END = "<!-- modules -->\n", "<!-- /modules -->"
HEAD = """\
| module | how frames meet | GFLOPs | real | synthetic | paper |
|---|---|---|---|---|---|
"""
MEANING = {
    "none": "mean of the frames' logits (C2D)",
    "pool": "mean of three frames",
    "nonlocal": "attention over all positions",
    "tconv": "dense temporal convolution",
    "tsm": "shifted channels (TSM)",
    "tei": "motion gate, learned shift (TEINet)",
    "i3d": "inflated convolutions (I3D)",
    "global": "TAM's kernel alone",
    "local": "TAM's gate alone",
    "global+se": "TAM's kernel, squeeze-and-excitation",
    "tanet-r": "TAM, kernel before gate",
    "tam": "TAM: a gate and a kernel per clip",
}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


def table() -> str:
    """Return the table in Markdown. It has one row for each module of the paper's Table 2."""
    rows = [row for row in current(read_csv(ROOT / "results" / "compare.csv")) if not row["made"]]
    speeds = read_csv(ROOT / "results" / "compare_speed.csv")
    real, synthetic = (
        {line.row: spread(list(line.top1.values())) for line in lines("2", name, "", rows, speeds)}
        for name in ("arrow6", "synthetic")
    )
    text = HEAD
    for name, meaning in MEANING.items():
        network = build_on_meta(find_recipe(f"table2/{name}").model, classes=400)
        cost = count_cost(network, size=256).total
        text += (
            f"| `{name}` | {meaning} | {cost.paper_flops / 1e9:.2f} "
            f"| {real[name]} | {synthetic[name]} | {TABLE2[name].top1} |\n".replace(" ± ", "±")
        )
    return text


if __name__ == "__main__":
    main()
