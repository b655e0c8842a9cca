"""Recipes for ECO and ECO-Lite (Zolfaghari et al., ECCV 2018), on Kinetics-400 and Something-Something V1.

    tanet train eco-lite --data.root videos --model.weights bn_inception.pth --init c3d_resnet18.pth.tar

--model.weights starts the 2D layers, --init the 3D layers. The values are those of the authors' code and of
their answers to issues: 16 segments; SGD with momentum 0.9 and Nesterov, learning rate 0.001, weight decay
5e-4, dropout 0.3 of the 3D features and 0.5 of the 2D features; all BatchNorms are trained. On Kinetics, 10
epochs with a tenth of the learning rate after 4, gradients of at most norm 30. On Something-Something V1,
60,000 steps, a tenth after 25,000, norm 40. A test has one clip and one crop.

The number of GPUs is not published, so the batch is open: 34 is 17 × 2 passes on one GPU, which makes
60,000 steps 24 epochs of V1. ECO-En-Lite averages the scores of four ECO-Lites, for 16, 20, 24 and 32
frames:

    tanet test eco16.safetensors eco20.safetensors eco24.safetensors eco32.safetensors --data.root videos

Published top-1 on V1 (Table 6): ECO 41.6 %, ECO-En-Lite 46.4 %.
"""

from dataclasses import replace

from tanet.recipes.networks_hybrid import ECO
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

ECO_LITE = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="plain", segments="published"),
    model=ECO(),
    optim=Optim(
        epochs=10,
        lr=0.001,
        milestones=(4,),
        batch=34,
        weight_decay=5e-4,
        nesterov=True,
        clip_norm=30.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=1, crops=1, resize=256, size=224, average="logits"),
)
ECO_SOMETHING_V1 = replace(
    ECO_LITE,
    data=replace(ECO_LITE.data, flip="none"),
    model=ECO(variant="full"),
    optim=replace(ECO_LITE.optim, epochs=24, milestones=(10,), clip_norm=40.0),
)
