"""Something-Something V1: `tanet train something-v1 --data.train list.txt …`, or something-v1-16f.

The paper's recipe (appendix A.1), which the published script has as well, but for:

    mirroring                published code: none (here)            paper: random, of labels it says nothing;
                                                                    --data.flip mirror exchanges them
    frames before the crop   published code: --data.resize 0        paper: short side 256 (here)
    learning rate × 5        published code: all Linear (here)   mmaction2: --optim.linear-lr-boost classifier

Dropout 0.6 is the script's; the paper gives none. On record, top-1 / top-5, one clip of one crop: 8 frames
46.5 / 75.8 %, 16 frames 47.6 / 77.7 %, both averaged (TANet-En) 50.6 / 79.3 % (Table 6).
"""

from dataclasses import replace

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

SOMETHING_V1 = Recipe(
    # Mirrored, the "left" and "right" in a class name would be wrong.
    data=Data(sampling="uniform", resize=256, size=224, flip="none"),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.6),
    optim=Optim(epochs=50, lr=0.01, milestones=(30, 40, 45), batch=64, weight_decay=1e-3),
    eval=Eval(clips=1, crops=1, resize=256, size=224, average="logits"),
)

SOMETHING_V1_16F = replace(SOMETHING_V1, model=replace(SOMETHING_V1.model, frames=16))
