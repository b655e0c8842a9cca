"""Recipes for SlowFast and SlowOnly on Kinetics-400 (Feichtenhofer et al., ICCV 2019), from random weights.

    tanet train slowfast-4x16 --data.root videos       ResNet-50, 4 + 32 frames
    tanet train slowfast-8x8 --data.root videos        ResNet-50, 8 + 32 frames
    tanet train slowfast-16x8 --data.root videos       ResNet-101, 16 + 64 frames
    tanet train slowfast-nl-16x8 --data.root videos    the same with 3 non-local blocks
    tanet train slowonly-8x8 --data.root videos        the slow pathway alone, 8 frames

T×τ in a name means T frames in the slow pathway, τ thirtieths of a second apart. All values are those of
PySlowFast's settings files; for 16×8, the files are for tests, but they state a training, too. Where sources
differ, these recipes use the value marked (here), and a flag sets the other value:

    epochs of 4×16         PySlowFast: 196 (here)          paper: --optim.epochs 256
    short sides of 16×8    PySlowFast: 256–320 (here)      paper: --data.short-sides 256 340
    epochs of 16×8         PySlowFast: 196 (here)          paper: half as many, --optim.epochs 98
    weights to start from  PySlowFast: random (here)       paper: 16×8 from an 8×8 with ResNet-101, and
                                                           non-local networks from those without:
                                                           --model.init checkpoint.safetensors

Published top-1 / top-5 with 10 clips × 3 crops of 256²: 4×16 75.6 / 92.1 %, 8×8 77.0 / 92.6 %, 16×8
78.9 / 93.5 %, with non-local blocks 79.8 / 93.9 %; SlowOnly 74.8 / 91.6 %.
"""

from tanet.recipes import published3d
from tanet.recipes.pyslowfast import pyslowfast

# Clips have a frame for every 1/15 s. The slow pathway sees a quarter or an eighth of these frames.
SLOWFAST_4X16 = pyslowfast(published3d.SLOWFAST, step=2)
SLOWFAST_8X8 = pyslowfast(published3d.SLOWFAST_8X8, step=2)
SLOWFAST_16X8 = pyslowfast(published3d.SLOWFAST_16X8, step=2)
SLOWFAST_NL_16X8 = pyslowfast(published3d.SLOWFAST_NL, step=2)

SLOWONLY_8X8 = pyslowfast(published3d.SLOWONLY, step=8)
