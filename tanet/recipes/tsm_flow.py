"""Recipes for TSM on optical flow (Lin et al., ICCV 2019), the second stream of TSM RGB+Flow.

    tanet data flow videos flow --method tvl1
    tanet train tsm-flow-something-v2 --data.root videos --data.flow flow --model.weights resnet50.pth

Each frame of a clip is replaced by 5 successive flows, x and y. The first convolution starts from ImageNet
kernels averaged over the colours, and has 5 times the learning rate. Crop sides are 1, 0.875 or 0.75 of the
short side, and nothing is mirrored. Everything else is as for RGB frames.

A two-stream test averages the scores of both networks:

    tanet test rgb.safetensors flow.safetensors --data.root videos --data.flow flow

TSM's authors publish 66.0 / 90.5 % on Something-Something V2 for both streams with 16 frames (Table 7 of the
TAM paper). They report about 42 % on V1 for flow alone.
"""

from dataclasses import replace

from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Recipe
from tanet.recipes.something_v1 import SOMETHING_V1
from tanet.recipes.something_v2 import SOMETHING_V2
from tanet.recipes.tsn import FLOW_SCALES


def _on_flow(recipe: Recipe, frames: int) -> Recipe:
    return replace(
        recipe,
        data=replace(recipe.data, flip="none", scales=FLOW_SCALES),
        model=Network2D(temporal="tsm", flows=5, frames=frames, dropout=recipe.model.dropout),
        optim=replace(recipe.optim, first_conv_lr_scale=5.0),
    )


TSM_FLOW_SOMETHING_V1 = _on_flow(SOMETHING_V1, 8)
TSM_FLOW_SOMETHING_V2 = _on_flow(SOMETHING_V2, 8)
TSM_FLOW_SOMETHING_V2_16F = _on_flow(SOMETHING_V2, 16)
