"""Something-Something V1 and V2, 8 frames: `tanet train something-v2 --data.train list.txt …`.

On record: V1 46.5 / 75.8 % top-1/top-5 with one clip of one crop (Table 6), V2 62.7 / 88.0 % with 2 clips × 3
crops (Table 7). V1 is the paper's recipe with the published script's dropout; V2 is the published script's,
whose values differ from the paper's (lr 0.01, batch 64, weight decay 1e-3).
"""

from tanet.recipe import Data, Eval, Model, Optim, Recipe

SOMETHING_V1 = Recipe(
    # The published code does not mirror V1: "left" and "right" in a class name would turn wrong.
    data=Data(sampling="uniform", resize=256, size=224, flip="none"),
    model=Model(backbone="resnet50", temporal="tam", frames=8, dropout=0.6),
    optim=Optim(epochs=50, lr=0.01, milestones=(30, 40, 45), batch=64, weight_decay=1e-3),
    eval=Eval(clips=1, crops=1, resize=256, size=224),
)

SOMETHING_V2 = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="mirror"),
    model=Model(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=50, lr=0.02, milestones=(30, 40, 45), batch=128, weight_decay=5e-4),
    eval=Eval(clips=2, crops=3, resize=256, size=256),
)
