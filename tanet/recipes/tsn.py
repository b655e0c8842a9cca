"""Recipes for TSN (Wang et al., ECCV 2016) with BN-Inception and Inception-v3, from ImageNet weights.

    tanet train tsn-bn-inception --data.root videos --model.weights bn_inception.pth

The values are those of the authors' code in PyTorch for RGB: 3 segments with one frame each; SGD with
momentum 0.9, weight decay 5e-4, batches of 128, learning rate 0.001, divided by 10 after 30 and 60 of 80
epochs; dropout 0.8; gradients of at most norm 20; only the first BatchNorm is trained. A test averages the
logits of 25 frames × 10 crops. Inception-v3 has frames of 341 and crops of 299 pixels.

For optical flow (`tsn-flow-bn-inception`): 5 successive flows for each frame; 340 epochs, the learning rate
divided by 10 after 190 and 300; dropout 0.7; smallest crop 0.75 of the short side; 5 times the learning rate
in the first convolution. The streams are trained separately, and a test averages their scores.

The code's schedule is for UCF-101; the published Kinetics networks were trained with Caffe. Their
top-1 / top-5: BN-Inception 69.1 / 88.7 %, Inception-v3 72.5 / 90.2 % (Table 4). The authors' page states
62.1 / 83.9 % for BN-Inception on optical flow, and 73.9 / 91.1 % for both streams.
"""

from dataclasses import replace

from tanet.recipes.published2d import TSN_BN_INCEPTION, TSN_FLOW_BN_INCEPTION, TSN_INCEPTION_V3
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

FLOW_SCALES = (1.0, 0.875, 0.75)
"""Sides of the training crops of optical flow in the code of TSN and TSM."""
TSN = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="plain", segments="published"),
    model=replace(TSN_BN_INCEPTION, frames=3),
    optim=Optim(
        epochs=80,
        lr=0.001,
        milestones=(30, 60),
        batch=128,
        weight_decay=5e-4,
        clip_norm=20.0,
        linear_lr_boost="none",
        partial_norm=True,
    ),
    eval=Eval(clips=1, crops=10, resize=256, size=224, average="logits", clip_frames=25),
)
TSN_INCEPTION = replace(
    TSN,
    data=replace(TSN.data, resize=341, size=299),
    model=TSN_INCEPTION_V3,
    eval=replace(TSN.eval, resize=341, size=299),
)
TSN_FLOW = replace(
    TSN,
    data=replace(TSN.data, scales=FLOW_SCALES),
    model=replace(TSN_FLOW_BN_INCEPTION, frames=3),
    optim=replace(TSN.optim, epochs=340, milestones=(190, 300), first_conv_lr_scale=5.0),
)
