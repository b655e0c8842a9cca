"""Table 5b of the paper: TAM in the blocks of one to four stages of ResNet-50 (3 to 16 blocks).

For example, train one row with `tanet train table5b/res4-5 --data.root …`.
"""

from dataclasses import replace
from typing import Literal

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row

Stage = Literal["res2", "res3", "res4", "res5"]


def _row(*stages: Stage, top1: float, top5: float) -> Row:
    model = replace(KINETICS400.model, stages=stages)
    return Row(replace(KINETICS400, model=model), top1=top1, top5=top5)


TABLE5B: dict[str, Row] = {
    "res5": _row("res5", top1=74.12, top5=91.45),
    "res4-5": _row("res4", "res5", top1=75.15, top5=92.04),
    "res3-5": _row("res3", "res4", "res5", top1=75.90, top5=92.22),
    "res2-5": _row("res2", "res3", "res4", "res5", top1=76.09, top5=92.30),
}
