"""Table 1a of the paper: different values of TAM's parameters α and β.

For example, train one row with `tanet train table1a/alpha1-beta4 --data.root …`.
The paper chooses α = 2 and β = 4, and prints this row twice. Here, this row appears once.
"""

from dataclasses import replace

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row


def _row(*, alpha: int, beta: int, top1: float, top5: float) -> Row:
    model = replace(KINETICS400.model, alpha=alpha, beta=beta)
    return Row(replace(KINETICS400, model=model), top1=top1, top5=top5)


TABLE1A: dict[str, Row] = {
    "alpha1-beta4": _row(alpha=1, beta=4, top1=75.63, top5=92.10),
    "alpha2-beta4": _row(alpha=2, beta=4, top1=76.09, top5=92.30),
    "alpha4-beta4": _row(alpha=4, beta=4, top1=75.72, top5=92.14),
    "alpha2-beta2": _row(alpha=2, beta=2, top1=75.91, top5=92.38),
    "alpha2-beta8": _row(alpha=2, beta=8, top1=75.63, top5=92.20),
}
