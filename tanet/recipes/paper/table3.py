"""Table 3 of the paper: different 2D networks, without and with TAM.

For example, train one row with `tanet train table3/mobilenet_v2-tam --data.root …`.
For ResNet-50 without TAM, the paper prints 70.7 % in this table, but 70.2 % in Table 2.
"""

from dataclasses import replace

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row


def _row(backbone: str, temporal: str, *, top1: float, top5: float) -> Row:
    model = replace(KINETICS400.model, backbone=backbone, temporal=temporal)
    return Row(replace(KINETICS400, model=model), top1=top1, top5=top5)


TABLE3: dict[str, Row] = {
    "shufflenet_v2_x1_0-none": _row("shufflenet_v2_x1_0", "none", top1=62.1, top5=84.3),
    "shufflenet_v2_x1_0-tam": _row("shufflenet_v2_x1_0", "tam", top1=67.3, top5=87.6),
    "mobilenet_v2-none": _row("mobilenet_v2", "none", top1=64.1, top5=85.6),
    "mobilenet_v2-tam": _row("mobilenet_v2", "tam", top1=71.6, top5=90.1),
    "inception_v3-none": _row("inception_v3", "none", top1=71.4, top5=89.8),
    "inception_v3-tam": _row("inception_v3", "tam", top1=75.6, top5=92.0),
    "resnet50-none": _row("resnet50", "none", top1=70.7, top5=88.9),
    "resnet50-tam": _row("resnet50", "tam", top1=76.1, top5=92.3),
    "resnext50_32x4d-none": _row("resnext50_32x4d", "none", top1=70.1, top5=88.8),
    "resnext50_32x4d-tam": _row("resnext50_32x4d", "tam", top1=76.4, top5=92.0),
}
