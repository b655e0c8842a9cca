"""Recipe for ARTNet with ResNet-18 on Kinetics-400 (Wang et al., CVPR 2018), from random weights.

    tanet train artnet-r18 --data.root videos

The values are those of the authors' settings files: 16 consecutive frames, resized to 170 × 128, a
multi-scale crop of 112², BGR; SGD with momentum 0.9, weight decay 5e-4, batches of 224 clips, learning rate
0.1 and a tenth of it after 70,000, 140,000, 180,000 and 220,000 of 250,000 steps. With 246,535 training
videos, these are 227 epochs with milestones 64, 127, 164 and 200. A test averages 25 clips × 10 crops.

Published top-1 / top-5: 69.2 / 88.3 %; 70.7 / 89.3 % when trained with TSN's segments (Table 4), which this
recipe does not do.
"""

from tanet.recipes import published3d
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

ARTNET_R18 = Recipe(
    data=Data(sampling="dense", window=16, resize=128, resize_width=170, size=112, flip="plain"),
    model=published3d.ARTNET_18,
    optim=Optim(
        epochs=227,
        lr=0.1,
        lr_batch=224,
        milestones=(64, 127, 164, 200),
        batch=224,
        weight_decay=5e-4,
        clip_norm=0.0,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=25, crops=10, resize=128, resize_width=170, size=112, average="softmax"),
)
