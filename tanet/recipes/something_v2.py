"""Recipes for Something-Something V2, with 8 and with 16 frames.

    tanet train something-v2 --data.train list.txt …
    tanet train something-v2-16f --data.train list.txt …

The paper uses the same values for V2 as for V1 (appendix A.1), but the authors' published code has other
values for V2. This recipe uses the values marked (here), and flags set the other values:

                             published code (here)      paper
    learning rate            0.02                       --optim.lr 0.01
    batch                    128                        --optim.batch 64
    weight decay             5e-4                       --optim.weight-decay 1e-3
    frames before the crop   --data.resize 0            short side 256 (here)
    learning rate × 5        every Linear (here)        mmaction2: --optim.linear-lr-boost classifier

Dropout 0.5 is taken from the published code; the paper does not state it. If a video is flipped, left and
right are swapped in its label. "Plugging … pulling it right out" has no counterpart and keeps its label.

Published top-1 / top-5 with 2 clips × 3 crops (Table 7): 62.7 / 88.0 % for 8 frames, 64.6 / 89.5 % for 16
frames, and 66.0 / 90.1 % for TANet-En, the average of the 8-frame and the 16-frame network.
"""

from dataclasses import replace

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

SOMETHING_V2 = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="published", segments="published", snap=2),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=50, lr=0.02, milestones=(30, 40, 45), batch=128, weight_decay=5e-4),
    eval=Eval(clips=2, crops=3, resize=256, size=256, average="logits"),
)

SOMETHING_V2_16F = replace(SOMETHING_V2, model=replace(SOMETHING_V2.model, frames=16))
