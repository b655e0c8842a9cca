"""Recipes for R(2+1)D (Tran et al., CVPR 2018) and CSN (ICCV 2019) on Kinetics-400, from random weights.

    tanet train r2plus1d-34 --data.root videos    32 frames of 112², every second one
    tanet train ip-csn-152 --data.root videos     32 frames of 224², every second one
    tanet train ip-csn-50 --data.root videos      8 frames of 224²
    tanet train ir-csn-152 --data.root videos     as ip-csn-152; also ir-csn-50

The authors' code, VMZ, calls one million clips an epoch, which are 4.06 passes over Kinetics-400's 246,535
training videos. It uses SGD with Nesterov's momentum 0.9, and a weight decay of 1e-4 that includes biases.

R(2+1)D has the values of VMZ's script: learning rate 0.01 for each GPU with 32 clips, a tenth of it after
each 10 of 35 epochs, frames resized to 171 × 128. CSN has those of its paper: learning rate 0.01 for each
GPU with 8 clips, 45 epochs, of which 10 warm up and 35 follow half a cosine. Here, batches are those of one
machine with 8 GPUs; the learning rate changes in proportion.

Published top-1 / top-5: R(2+1)D-34 72.4 / 90.6 %, after Sports-1M 74.3 / 91.4 % (Table 4); ip-CSN-152 77.8 /
92.8 %, after Sports-1M 79.2 / 93.8 % (Table 4); ip-CSN-50 70.8 % in 10 views (Table 4).
"""

from dataclasses import replace

from tanet.recipes import published3d
from tanet.recipes.networks3d_factored import CSN
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

OPTIM = Optim(
    epochs=142,
    lr=0.01,
    lr_batch=32,
    milestones=(41, 81, 122),
    batch=256,
    nesterov=True,
    weight_decay=1e-4,
    biases="like-weights",
    clip_norm=0.0,
    linear_lr_boost="none",
)
R2PLUS1D_34 = Recipe(
    data=Data(
        sampling="dense",
        window=64,
        resize=128,
        resize_width=171,
        size=112,
        short_sides=(128, 128),
        flip="plain",
    ),
    model=published3d.R2PLUS1D_34,
    optim=OPTIM,
    eval=Eval(clips=10, resize=128, resize_width=171, size=112, average="softmax"),
)


def _csn(model: CSN) -> Recipe:
    """Return the recipe of a CSN."""
    return Recipe(
        data=Data(sampling="dense", window=2 * model.frames, size=224, short_sides=(256, 256), flip="plain"),
        model=model,
        optim=replace(OPTIM, epochs=183, lr_batch=8, batch=64, schedule="cosine", milestones=(), warmup=41.0),
        eval=Eval(clips=10, crops=3, resize=256, size=256, average="softmax"),
    )


IP_CSN_152 = _csn(published3d.IP_CSN_152)
IR_CSN_152 = _csn(published3d.IR_CSN_152)
IR_CSN_50 = _csn(published3d.IR_CSN_50)
IP_CSN_50 = replace(_csn(published3d.IP_CSN_50), eval=Eval(clips=10, resize=256, size=224, average="softmax"))
