"""Table 1b of the paper: adaptive kernels of 3 and 5 taps, for 8 and for 16 frames.

For example, train one row with `tanet train table1b/kernel5-frames16 --data.root …`.
The convolution of the local branch always has 3 taps, as in section 3.2 of the paper. In the published code,
this convolution has as many taps as the adaptive kernel. For 5 taps, add `--model.local-kernel 5`. The
16-frame models are tested on 4 clips (appendix A.1).
"""

from dataclasses import replace

from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.paper.row import Row


def _row(*, kernel: int, frames: int, clips: int, top1: float, top5: float) -> Row:
    model = replace(KINETICS400.model, kernel=kernel, frames=frames)
    recipe = replace(KINETICS400, model=model, eval=replace(KINETICS400.eval, clips=clips))
    return Row(recipe, top1=top1, top5=top5)


TABLE1B: dict[str, Row] = {
    "kernel3-frames8": _row(kernel=3, frames=8, clips=10, top1=76.09, top5=92.30),
    "kernel5-frames8": _row(kernel=5, frames=8, clips=10, top1=75.62, top5=92.14),
    "kernel3-frames16": _row(kernel=3, frames=16, clips=4, top1=76.87, top5=92.88),
    "kernel5-frames16": _row(kernel=5, frames=16, clips=4, top1=77.19, top5=93.17),
}
