"""Recipes for Something-Something V1, as in the paper (appendix A.1), with 8 and with 16 frames.

    tanet train something-v1 --data.train list.txt …
    tanet train something-v1-16f --data.train list.txt …

The authors' published code has the same values as the paper, with two exceptions: flips, and the size of
frames before the crop. Where sources differ, this recipe uses the value marked (here), and a flag sets the
other value:

    flips                    published code: none (here)         paper: random; does not mention labels;
                                                                 --data.flip mirror swaps left and right
    frames before the crop   published code: --data.resize 0     paper: short side 256 (here)
    learning rate × 5        published code: all Linear (here)   mmaction2: --optim.linear-lr-boost classifier

Dropout 0.6 is taken from the published code; the paper does not state it.

Published top-1 / top-5 with one clip and one crop (Table 6): 46.5 / 75.8 % for 8 frames, 47.6 / 77.7 % for 16
frames, and 50.6 / 79.3 % for TANet-En, the average of the 8-frame and the 16-frame network.
"""

from dataclasses import replace

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

SOMETHING_V1 = Recipe(
    # A flip would turn left into right in the video, but not in the name of the class.
    data=Data(sampling="uniform", resize=256, size=224, flip="none", segments="published", snap=2),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.6),
    optim=Optim(epochs=50, lr=0.01, milestones=(30, 40, 45), batch=64, weight_decay=1e-3),
    eval=Eval(clips=1, crops=1, resize=256, size=224, average="logits"),
)

SOMETHING_V1_16F = replace(SOMETHING_V1, model=replace(SOMETHING_V1.model, frames=16))
