"""Recipes for X3D on Kinetics-400 (Feichtenhofer, CVPR 2020), from random weights.

    tanet train x3d-xs --data.root videos    4 frames of 160²
    tanet train x3d-s --data.root videos     13 frames of 160²
    tanet train x3d-m --data.root videos     16 frames of 224²
    tanet train x3d-l --data.root videos     16 frames of 312²
    tanet train x3d-xl --data.root videos    16 frames of 312², wider

All values of XS to L are those of PySlowFast's settings files X3D_XS.yaml to X3D_L.yaml. XL has no such file:
its recipe is that of L with the widths of XL. The learning rate is that of one machine.

Published top-1 with 10 clips × 3 crops: XS 69.5 %, S 73.5 %, M 76.2 %, L 77.5 % (PySlowFast); XL 79.1 %,
top-5 93.9 % (paper).
"""

from dataclasses import replace

from tanet.recipes import published3d
from tanet.recipes.pyslowfast import OPTIM, pyslowfast

SMALL = replace(OPTIM, epochs=300, lr=0.1, lr_batch=128, batch=128, warmup=35.0, weight_decay=5e-5)
LARGE = replace(SMALL, epochs=256, lr=0.05, lr_batch=64, batch=64)

X3D_XS = pyslowfast(published3d.X3D_XS, step=12, short_sides=(182, 228), size=160, optim=SMALL)
X3D_S = pyslowfast(published3d.X3D_S, step=6, short_sides=(182, 228), size=160, optim=SMALL)
X3D_M = pyslowfast(published3d.X3D_M, step=5, optim=SMALL)
X3D_L = pyslowfast(published3d.X3D_L, step=5, short_sides=(356, 446), size=312, optim=LARGE)
X3D_XL = pyslowfast(published3d.X3D_XL, step=5, short_sides=(356, 446), size=312, optim=LARGE)
