"""Table 6 of the paper: networks on Something-Something V1, one clip and one centre crop of 224².

For example, train one row with `tanet train table6/gst-8f --data.train …`. `tanet cost --table 6` counts the
multiply-adds of all rows. Some rows are several networks whose scores are averaged: `Row.others`.
"""

from dataclasses import replace

from tanet.recipes.blvnet import BLVNET_16X2
from tanet.recipes.eco import ECO_SOMETHING_V1
from tanet.recipes.gst import GST_SOMETHING
from tanet.recipes.networks_hybrid import ECO
from tanet.recipes.paper.row import Row
from tanet.recipes.recipe import Recipe
from tanet.recipes.region_graph import I3D_SOMETHING, NL_I3D_GCN, NL_I3D_SOMETHING
from tanet.recipes.s3d import S3D_G
from tanet.recipes.something_v1 import SOMETHING_V1
from tanet.recipes.trn import TRN_MULTISCALE
from tanet.recipes.tsn import TSN

NO_CODE = "region proposals are not counted here; the paper probably counts them"


def of_something(recipe: Recipe, **model: object) -> Recipe:
    """Return a recipe with other settings of its network, tested with one clip and one crop."""
    recipe = replace(recipe, model=replace(recipe.model, **model))  # type: ignore[arg-type]
    return replace(recipe, eval=replace(recipe.eval, clips=1, crops=1, clip_frames=0))


def eco_lite(frames: int) -> Recipe:
    """Return the recipe of an ECO-Lite."""
    return replace(ECO_SOMETHING_V1, model=ECO(frames=frames))


TABLE6: dict[str, Row] = {
    "tsn-bn-inception": Row(of_something(TSN, frames=8), gflops=16, top1=19.5, top5=None),
    "trn-multiscale": Row(
        of_something(TRN_MULTISCALE),
        gflops=33,
        top1=34.4,
        top5=None,
        weights=("trn-multiscale-bn-inception-ssv1", "trn-r50-ssv1"),
        note="a misprint: 33 are ResNet-50's",
    ),
    "s3d-g": Row(S3D_G, gflops=71.38, top1=48.2, top5=78.7, note="the layers have 71.92 G"),
    "eco": Row(ECO_SOMETHING_V1, gflops=64, top1=41.6, top5=None),
    "eco-en-lite": Row(
        eco_lite(16), others=(eco_lite(20), eco_lite(24), eco_lite(32)), gflops=267, top1=46.4, top5=None
    ),
    "tsn-r50": Row(of_something(SOMETHING_V1, temporal="none"), gflops=33, top1=19.7, top5=46.6),
    "i3d": Row(I3D_SOMETHING, clips=2, gflops=306, top1=41.6, top5=72.2),
    "nl-i3d": Row(
        NL_I3D_SOMETHING,
        clips=2,
        gflops=334,
        top1=44.4,
        top5=76.0,
        note="with five non-local blocks, without attention's products; 334 is not explained",
    ),
    "nl-i3d-gcn": Row(NL_I3D_GCN, clips=2, gflops=606, top1=46.1, top5=76.8, note=NO_CODE),
    "tsm-8f": Row(
        of_something(SOMETHING_V1, temporal="tsm"),
        gflops=33,
        top1=45.6,
        top5=74.2,
        weights=("tsm-r50-ssv1",),
    ),
    "tsm-16f": Row(
        of_something(SOMETHING_V1, temporal="tsm", frames=16),
        gflops=65,
        top1=47.2,
        top5=77.1,
        weights=("tsm-r50-16f-ssv1",),
    ),
    "tsm-en": Row(
        of_something(SOMETHING_V1, temporal="tsm", frames=16),
        others=(of_something(SOMETHING_V1, temporal="tsm"),),
        gflops=98,
        top1=49.7,
        top5=78.5,
        weights=("tsm-r50-16f-ssv1", "tsm-r50-ssv1"),
    ),
    "tam-fan": Row(of_something(SOMETHING_V1, temporal="tam-ibm"), top1=46.1, top5=None),
    "blvnet-tam": Row(
        BLVNET_16X2, gflops=48, top1=48.4, top5=78.8, note="pre-trained on ImageNet; the table says V2"
    ),
    "gst-8f": Row(
        GST_SOMETHING,
        gflops=30,
        top1=47.0,
        top5=76.1,
        note="the paper of GST prints 29.5; BatchNorms and ReLUs are probably counted there",
    ),
    "gst-16f": Row(of_something(GST_SOMETHING, frames=16), gflops=59, top1=48.6, top5=77.9, note="as gst-8f"),
    "teinet-8f": Row(of_something(SOMETHING_V1, temporal="tei"), gflops=33, top1=47.4, top5=None),
    "teinet-16f": Row(of_something(SOMETHING_V1, temporal="tei", frames=16), gflops=66, top1=49.9, top5=None),
    "tanet-8f": Row(of_something(SOMETHING_V1), gflops=33, top1=46.5, top5=75.8, weights=("tanet-r50-ssv1",)),
    "tanet-16f": Row(
        of_something(SOMETHING_V1, frames=16),
        gflops=66,
        top1=47.6,
        top5=77.7,
        weights=("tanet-r50-16f-ssv1",),
    ),
    "tanet-en": Row(
        of_something(SOMETHING_V1),
        others=(of_something(SOMETHING_V1, frames=16),),
        gflops=99,
        top1=50.6,
        top5=79.3,
        weights=("tanet-r50-ssv1", "tanet-r50-16f-ssv1"),
    ),
}
