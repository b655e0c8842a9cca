"""Recipes for bLVNet-TAM-50 (Fan et al., NeurIPS 2019), from ImageNet weights of bLResNet-50.

    tanet train blvnet-tam-8x2 --data.train list.txt … --model.weights ImageNet-bLResNet-50-a2-b4.pth.tar
    tanet train blvnet-tam-24x2 --data.root videos --model.weights …

8x2, 16x2 and 24x2 are 16, 32 and 48 frames. The values are those of the authors' code: SGD with momentum
0.9 and Nesterov, learning rate 0.01 with a cosine, 50 epochs, batches of 64, weight decay 5e-4, dropout
0.5; in training, the same random offset in all segments. On Something-Something, a test has one clip and
one crop of 224², of frames with a short side of 224 pixels. On Kinetics (24x2), clips are dense, and Table
4 says 9 views of 256²; which ones is not published, and they are 3 clips × 3 crops here. The window of
dense clips is open, too: 96 frames here.

Published top-1 (Tables 4, 6 and 7): V1 46.4 (8x2), 48.4 % (16x2); V2 59.1 and 61.7 %; Kinetics-400 73.5 %
(24x2). Tables 6 and 7 print pre-training on Something-Something V2, but it was ImageNet.
"""

from dataclasses import replace

from tanet.recipes.networks_hybrid import BLVNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

BLVNET_8X2 = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="none", segments="shared"),
    model=BLVNet(),
    optim=Optim(
        epochs=50,
        lr=0.01,
        schedule="cosine",
        milestones=(),
        batch=64,
        weight_decay=5e-4,
        nesterov=True,
        clip_norm=0.0,
        linear_lr_boost="none",
        biases="like-weights",
    ),
    eval=Eval(clips=1, crops=1, resize=224, size=224, average="logits"),
)
BLVNET_16X2 = replace(BLVNET_8X2, model=BLVNet(frames=32))
BLVNET_24X2 = replace(
    BLVNET_8X2,
    data=replace(BLVNET_8X2.data, sampling="dense", window=96, flip="plain"),
    model=BLVNet(frames=48),
    eval=Eval(clips=3, crops=3, resize=256, size=256, average="logits"),
)
