"""Something-Something V1: `tanet train something-v1 --data.train list.txt …`, or something-v1-16f.

The paper's recipe (appendix A.1). The published script has the same values, except for:

    flips                    published code: none (here)         paper: random, labels not mentioned;
                                                                 --data.flip mirror swaps left and right
    frames before the crop   published code: --data.resize 0     paper: short side 256 (here)
    learning rate × 5        published code: all Linear (here)   mmaction2: --optim.linear-lr-boost classifier

Dropout 0.6 is taken from the script; the paper does not state it.

Published top-1 / top-5 with one clip and one crop:
46.5 / 75.8 % for 8 frames, 47.6 / 77.7 % for 16 frames, 50.6 / 79.3 % for the average of both (TANet-En,
Table 6).
"""

from dataclasses import replace

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

SOMETHING_V1 = Recipe(
    # A flipped video would contradict "left" or "right" in its class name.
    data=Data(sampling="uniform", resize=256, size=224, flip="none"),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.6),
    optim=Optim(epochs=50, lr=0.01, milestones=(30, 40, 45), batch=64, weight_decay=1e-3),
    eval=Eval(clips=1, crops=1, resize=256, size=224, average="logits"),
)

SOMETHING_V1_16F = replace(SOMETHING_V1, model=replace(SOMETHING_V1.model, frames=16))
