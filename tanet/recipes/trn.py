"""Recipes for TRN (Zhou et al., ECCV 2018) with BN-Inception on Something-Something, from ImageNet weights.

    tanet train trn-multiscale --data.train list.txt … --model.weights bn_inception.pth

The values are those of the authors' code: 8 segments (3 for the single relation); SGD with momentum 0.9,
weight decay 5e-4, learning rate 0.001, a tenth of it after 50 and 100 of 120 epochs; dropout 0.8; gradients
of at most norm 20; only the first BatchNorm is trained. A test averages 10 crops of one clip. Where sources
differ, this recipe uses the value marked (here):

    batch                authors' README: 64 (here)      default of their code: --optim.batch 128
    relations in a test  authors' code: drawn anew in each pass, --model.relation-draw published
                         the same for each video, so that an answer repeats (here)
    flips                authors' code: plain (here)     other authors: --data.flip none, or mirror

Published top-1: 34.4 % on V1, 48.8 % on V2 (Tables 6 and 7). Table 6 prints 33 GFLOPs, which are those of
ResNet-50; BN-Inception has 16.3.
"""

from dataclasses import replace

from tanet.recipes.published2d import TRN_BN_INCEPTION
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

TRN_MULTISCALE = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="plain", segments="published"),
    model=TRN_BN_INCEPTION,
    optim=Optim(
        epochs=120,
        lr=0.001,
        milestones=(50, 100),
        batch=64,
        weight_decay=5e-4,
        clip_norm=20.0,
        linear_lr_boost="none",
        partial_norm=True,
    ),
    eval=Eval(clips=1, crops=10, resize=256, size=224, average="logits"),
)
TRN = replace(TRN_MULTISCALE, model=replace(TRN_BN_INCEPTION, consensus="trn", frames=3))
