"""Recipe for CPNet with ResNet-34 on Something-Something V2 (Liu, Lee and Jin, CVPR 2019).

    tanet train cpnet-something-v2 --data.train list.txt … --model.weights resnet34.pth

The values are those of the authors' commands: 12 frames, every second one, from a random place; SGD with
momentum 0.9, learning rate 0.01, a tenth of it after each 20 epochs, batches of 32, dropout 0.5, no weight
decay. The number of epochs is not published; it is 60 here. The code crops 50 to 100 % of a frame's area at
a ratio of 0.9 to 1.1; here, it is a multi-scale crop of 71 to 100 % of the short side. The code leaves
mirroring to the user.

A test averages the probabilities of 8 clips of 24 frames × 6 crops along the longer side, of frames with a
short side of 224 pixels ("fcn 6"). Table 7 says 16 × 16 views, which no published command does. Published
top-1 / top-5 on V2: 57.7 / 84.0 % (Table 7, which prints ResNet-50; the network is ResNet-34).
"""

from tanet.recipes.networks_hybrid import CPNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

CPNET_SOMETHING_V2 = Recipe(
    data=Data(sampling="dense", window=24, resize=256, size=224, scales=(1.0, 0.9, 0.8, 0.71), flip="none"),
    model=CPNet(frames=12),
    optim=Optim(
        epochs=60,
        lr=0.01,
        milestones=(20, 40),
        batch=32,
        weight_decay=0.0,
        clip_norm=0.0,
        linear_lr_boost="none",
        biases="like-weights",
    ),
    eval=Eval(clips=8, crops=6, resize=224, size=224, average="softmax", clip_frames=24),
)
