"""Recipe for S3D-G on Kinetics-400 (Xie et al., ECCV 2018), from random weights.

    tanet train s3d-g --data.root videos                        the row of Table 4
    tanet train s3d-g --data.root videos --model.gates none     S3D

From the paper: 64 frames, 224² crops, SGD with momentum 0.9, 56 GPUs with 6 clips each, learning rate 0.1.
The weight decay of 1e-7 is that of the authors' code. The first version of the paper gives the schedule of
Mini-Kinetics-200: 80,000 steps, and a tenth of the learning rate after 60,000 and 70,000. The same number
of clips is 109 epochs of Kinetics-400's 246,535 training videos, with milestones 82 and 95. The paper
starts from ImageNet weights of Inception-V1, which tanet cannot read.

Published top-1 / top-5 (Table 4): S3D 72.2 / 90.6 %, S3D-G 74.7 / 93.4 %.
"""

from tanet.recipes import published3d
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

S3D_G = Recipe(
    data=Data(sampling="dense", window=64, size=224, short_sides=(256, 256), flip="plain"),
    model=published3d.S3D_G,
    optim=Optim(
        epochs=109,
        lr=0.1,
        lr_batch=336,
        milestones=(82, 95),
        batch=336,
        momentum=0.9,
        weight_decay=1e-7,
        biases="like-weights",
        clip_norm=0.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=10, crops=3, resize=256, size=256, average="softmax"),
)
