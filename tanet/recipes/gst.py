"""Recipes for GST and GST-Large with ResNet-50 on Something-Something (Luo and Yuille, ICCV 2019).

    tanet train gst-something --data.train list.txt … --model.weights resnet50.pth
    tanet train gst-large-something --data.train list.txt … --model.weights resnet50.pth

The values are those of the authors' code: 8 segments; SGD with momentum 0.9, weight decay 3e-4, batches of
24, learning rate 0.01, a tenth of it after 50 and 60 of 70 epochs; dropout 0.3; gradients of at most norm
20. A mirrored video gets the label with left and right exchanged. The authors' code exchanges numbers of
V2's classes for V1, too; here, names tell which classes are exchanged. A test has one clip and one crop.

Published top-1: V1 47.0 % (8 frames) and 48.6 % (16 frames), V2 61.6 % and 62.6 % (Tables 6 and 7);
GST-Large 47.7 % and 62.0 %.
"""

from dataclasses import replace

from tanet.recipes.published2d import GST_50
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

GST_SOMETHING = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="published", segments="published"),
    model=GST_50,
    optim=Optim(
        epochs=70,
        lr=0.01,
        milestones=(50, 60),
        batch=24,
        weight_decay=3e-4,
        clip_norm=20.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=1, crops=1, resize=256, size=224, average="logits"),
)
GST_LARGE_SOMETHING = replace(GST_SOMETHING, model=replace(GST_50, gst_groups=1))
