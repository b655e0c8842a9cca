"""Table 2 of the paper: temporal modules in ResNet-50. A row has the name of its module (models/temporal).

For example, train one row with `tanet train table2/tsm --data.root …`. `tanet cost --table 2` counts the
FLOPs of all rows, for one view of 8 frames of 256 × 256 pixels and for 400 classes.
"""

from dataclasses import replace

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row


def _row(temporal: str, *, gflops: float, params_m: float, top1: float, top5: float, note: str = "") -> Row:
    recipe = replace(KINETICS400, model=replace(KINETICS400.model, temporal=temporal))
    return Row(recipe, top1=top1, top5=top5, gflops=gflops, params_m=params_m, note=note)


TABLE2: dict[str, Row] = {
    "none": _row("none", gflops=42.95, params_m=24.33, top1=70.2, top5=88.9),
    "pool": _row("pool", gflops=42.95, params_m=24.33, top1=73.1, top5=90.6),
    "tconv": _row("tconv", gflops=53.02, params_m=28.10, top1=73.3, top5=90.7),
    "tsm": _row("tsm", gflops=42.95, params_m=24.33, top1=74.1, top5=91.2),
    "tei": _row("tei", gflops=43.01, params_m=25.11, top1=74.9, top5=91.8),
    "i3d": _row("i3d", gflops=62.55, params_m=32.99, top1=74.3, top5=91.6),
    "nonlocal": _row(
        "nonlocal",
        gflops=64.49,
        params_m=31.69,
        top1=74.4,
        top5=91.5,
        note="counting one operation for each weight of attention's softmax (0.04 G) would close the gap; "
        "attention's matrix products (20.40 G) are in neither count, but are in the multiply-adds",
    ),
    "global": _row("global", gflops=43.00, params_m=24.33, top1=74.9, top5=91.7),
    "local": _row(
        "local",
        gflops=43.00,
        params_m=25.59,
        top1=73.3,
        top5=90.7,
        note="its convolutions add 0.01 G to the 2D network's 42.95 G; "
        "the paper does not say what else it counts, and prints the global branch's figure",
    ),
    "global+se": _row("global+se", gflops=43.02, params_m=24.65, top1=75.4, top5=92.0),
    "tanet-r": _row("tanet-r", gflops=43.02, params_m=25.59, top1=76.0, top5=92.2),
    "tam": _row("tam", gflops=43.02, params_m=25.59, top1=76.1, top5=92.3),
}
