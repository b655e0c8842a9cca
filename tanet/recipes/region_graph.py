"""Recipes for I3D, NL I3D and a graph of regions on Something-Something (Wang and Gupta, ECCV 2018).

    tanet train nl-i3d-something --data.train list.txt … --init nl_i3d_kinetics.safetensors

    tanet train nl-i3d-gcn --data.train list.txt … --init nl_i3d.safetensors \\
        --data.boxes boxes.json --model.boxes given

Two steps, as in the paper: first train NL I3D from Kinetics weights, for 100 epochs with a learning rate of
0.00125 and a tenth of it after 90; then train the graph from it, for 30 epochs with 0.000125. 32 frames;
SGD with momentum 0.9, batches of 8, dropout 0.3. No code was published; unofficial code has the same
numbers. Without a file of boxes, the regions are cells of a grid, and the published accuracy is out of
reach: it needs boxes of a detector. The paper's weight decay and flips are not known; they are those of the
non-local paper and none.

Published top-1 / top-5 on V1 (Table 6): I3D 41.6 / 72.2 %, NL I3D 44.4 / 76.0 %, with the graph 46.1 / 76.8
%.
"""

from dataclasses import replace

from tanet.recipes import published3d
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

NL_I3D_GCN = Recipe(
    data=Data(sampling="dense", window=64, resize=256, size=224, flip="none"),
    model=RegionGraphNet(),
    optim=Optim(
        epochs=30,
        lr=0.000125,
        milestones=(),
        batch=8,
        weight_decay=1e-4,
        clip_norm=0.0,
        linear_lr_boost="none",
        biases="like-weights",
    ),
    eval=Eval(clips=1, crops=3, resize=256, size=256, average="softmax"),
)
I3D_SOMETHING = replace(
    NL_I3D_GCN,
    model=replace(published3d.I3D_TABLE6, dropout=0.3),
    optim=replace(NL_I3D_GCN.optim, epochs=100, lr=0.00125, milestones=(90,)),
)
NL_I3D_SOMETHING = replace(
    I3D_SOMETHING, model=replace(published3d.I3D_TABLE6, non_local=published3d.NON_LOCAL, dropout=0.3)
)
