"""Recipes for torchvision's 18-layer networks on Kinetics-400 (Tran et al., CVPR 2018), from random weights.

    tanet train r2plus1d-18 --data.root videos    R(2+1)D
    tanet train r3d-18 --data.root videos         3×3×3 convolutions
    tanet train mc3-18 --data.root videos         3×3×3 convolutions in res2 only

The values are those of torchvision's reference training: 16 frames at 15 frames per second (every second
one here), resized to 171 × 128, a random crop of 112²; 45 epochs of 5 clips of each video, which are 225
passes; 24 clips and a learning rate of 0.01 for each GPU, a warm-up of 10 epochs, a tenth after 20, 30 and
40. torchvision trained on 64 GPUs and decays all weights; here, batches are those of 8 GPUs, the learning
rate changes in proportion, and BatchNorms have no weight decay.

Published top-1 / top-5 with 5 clips: R(2+1)D 67.5 / 86.2 %, R3D 63.2 / 83.5 %, MC3 64.0 / 84.1 %.
"""

from tanet.recipes import published3d
from tanet.recipes.networks3d_factored import VideoResNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe


def _recipe(model: VideoResNet) -> Recipe:
    return Recipe(
        data=Data(
            sampling="dense",
            window=32,
            resize=128,
            resize_width=171,
            size=112,
            short_sides=(128, 128),
            flip="plain",
        ),
        model=model,
        optim=Optim(
            epochs=225,
            lr=0.01,
            lr_batch=24,
            milestones=(100, 150, 200),
            warmup=50.0,
            warmup_lr=1e-5,
            batch=192,
            weight_decay=1e-4,
            biases="like-weights",
            clip_norm=0.0,
            linear_lr_boost="none",
        ),
        eval=Eval(clips=5, resize=128, resize_width=171, size=112, average="softmax"),
    )


R2PLUS1D_18 = _recipe(published3d.R2PLUS1D_18)
R3D_18 = _recipe(published3d.R3D_18)
MC3_18 = _recipe(published3d.MC3_18)
