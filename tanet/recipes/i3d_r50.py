"""Recipes for I3D with ResNet-50 and non-local networks on Kinetics-400 (Wang et al., CVPR 2018).

    tanet train i3d-r50 --data.root videos --model.weights resnet50.pth      32 frames, every second one
    tanet train nl-i3d-r50 --data.root videos --model.weights resnet50.pth   the same with non-local blocks
    tanet train i3d-r50-8x8 --data.root videos                               8 frames, random weights

The first two start from ImageNet weights of ResNet-50, as in the paper and in the scripts of its code
(video-nonlocal-net). Their values are those of both; Nesterov's momentum, and weight decay on biases but not
on BatchNorms, are the code's. A window is 64 frames of the video; a short video starts again (here).

The paper counts iterations. A training of 400,000 iterations with 64 clips, whose learning rate falls after
150,000 and 300,000, has 104 epochs with milestones 39 and 78: the authors had 246,535 training videos.

i3d-r50-8x8 has the values of PySlowFast's I3D_8x8_R50.yaml, which are also those of SlowOnly. For ImageNet
weights, PySlowFast has another file, I3D_8x8_R50_IN1K.yaml:

    --optim.schedule step --optim.lr 0.01 --optim.epochs 118 --optim.milestones 44 88 --optim.warmup 0

Published top-1 / top-5 with 10 clips × 3 crops of 256²: I3D 73.3 % (paper), 73.6 / 90.8 % (code); with
non-local blocks 74.9 / 91.6 %.
"""

from dataclasses import replace

from tanet.recipes import published3d
from tanet.recipes.pyslowfast import pyslowfast
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

I3D_R50 = Recipe(
    data=Data(sampling="dense", window=64, size=224, short_sides=(256, 320), flip="plain"),
    model=published3d.I3D,
    optim=Optim(
        epochs=104,
        lr=0.01,
        milestones=(39, 78),
        batch=64,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        biases="like-weights",
        clip_norm=0.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=10, crops=3, resize=256, size=256, average="softmax"),
)

NL_I3D_R50 = replace(I3D_R50, model=published3d.NL_I3D)

I3D_R50_8X8 = pyslowfast(published3d.I3D_PYSLOWFAST, step=8)
