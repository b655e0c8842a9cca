"""Table 5a of the paper: TAM at different positions in the residual block (Figure 3).

For example, train one row with `tanet train table5a/c --data.root …`.
"""

from dataclasses import replace
from typing import Literal

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row


def _row(position: Literal["a", "b", "c", "d"], *, top1: float, top5: float) -> Row:
    model = replace(KINETICS400.model, position=position)
    return Row(replace(KINETICS400, model=model), top1=top1, top5=top5)


TABLE5A: dict[str, Row] = {
    "a": _row("a", top1=75.95, top5=92.18),
    "b": _row("b", top1=76.09, top5=92.30),
    "c": _row("c", top1=75.75, top5=92.13),
    "d": _row("d", top1=75.20, top5=91.78),
}
