"""Recipes for Kinetics-400, as in the paper (appendix A.1), with 8 and with 16 frames.

    tanet train kinetics400 --data.root videos
    tanet train kinetics400-16f --data.root videos

The authors' published code has the same values as the paper, except that it does not resize frames before
the crop. The paper does not state which layers have 5 times the learning rate. Where sources differ, this
recipe uses the value marked (here), and a flag sets the other value:

    frames before the crop   paper: short side 256 (here)       published code: --data.resize 0
    5 × learning rate        published code: all Linear (here)  mmaction2: --optim.linear-lr-boost classifier

Dropout 0.5 is taken from the published code.

Published top-1 / top-5 (Tables 2, 4): 76.1 / 92.3 % for 8 frames and 10 clips × 3 crops; 76.9 / 92.9 % for 16
frames and 4 clips × 3 crops. The published code averages the logits of the views. To average the softmax
probabilities instead, as in mmaction2, use `tanet test --eval.average softmax`.
"""

from dataclasses import replace

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

KINETICS400 = Recipe(
    data=Data(sampling="dense", window=64, resize=256, size=224, flip="plain", segments="published", snap=2),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=100, lr=0.01, milestones=(50, 75, 90), batch=64, weight_decay=1e-4),
    eval=Eval(clips=10, crops=3, resize=256, size=256, average="logits"),
)

KINETICS400_16F = replace(
    KINETICS400,
    model=replace(KINETICS400.model, frames=16),
    eval=replace(KINETICS400.eval, clips=4),
)
