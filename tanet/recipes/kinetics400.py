"""Kinetics-400, 8 frames, as in the paper (appendix A.1): `tanet train kinetics400 --data.root …`.

On record: 76.1 % top-1, 92.3 % top-5 with 10 clips × 3 crops (Table 2).
"""

from tanet.recipe import Data, Eval, Model, Optim, Recipe

KINETICS400 = Recipe(
    data=Data(sampling="dense", window=64, resize=256, size=224, flip="plain"),
    model=Model(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=100, lr=0.01, milestones=(50, 75, 90), batch=64, weight_decay=1e-4),
    eval=Eval(clips=10, crops=3, resize=256, size=256),
)
