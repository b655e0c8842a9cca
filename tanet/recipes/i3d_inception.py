"""Recipe for I3D with Inception on Kinetics-400 (Carreira and Zisserman, CVPR 2017).

    tanet train i3d-inception --data.root videos

From the paper: 64 consecutive frames of video at 25 fps, short side 256, a random 224² crop, flips; a short
video starts again; SGD with momentum 0.9 for 110,000 steps on 64 GPUs, and a tenth of the learning rate once
the validation loss saturates. A test shows the whole video, at most 250 frames, in one 224² centre crop.

The paper does not state the batch size, the learning rate, its fall and the weight decay. This recipe takes
them from pytorch-i3d, whose author trained it on Charades: 6 clips on each GPU (384), learning rate 0.1, a
tenth of it after 45 of 65 thousand steps, weight decay 1e-7. With 246,535 training videos, 110,000 steps are
171 epochs, and the learning rate falls after 118. With another batch size, it changes in proportion.

The paper starts from ImageNet weights of Inception-V1, repeated over time. tanet cannot read them: this
recipe starts from random weights.

Published top-1 / top-5 (Table 4): 72.1 / 90.3 %.
"""

from tanet.recipes.networks3d import InceptionI3D
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

I3D_INCEPTION = Recipe(
    data=Data(sampling="dense", window=64, size=224, short_sides=(256, 256), flip="plain"),
    model=InceptionI3D(frames=64, dropout=0.5),
    optim=Optim(
        epochs=171,
        lr=0.1,
        lr_batch=384,
        milestones=(118,),
        batch=384,
        momentum=0.9,
        weight_decay=1e-7,
        biases="like-weights",
        clip_norm=0.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=1, crops=1, frames=250, resize=256, size=224, average="logits"),
)
