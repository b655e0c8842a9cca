"""Table 4 of the paper: networks on Kinetics-400, with their GFLOPs for one view and their views.

For example, train one row with `tanet train table4/slowfast --data.root …`. `tanet cost --table 4` counts the
multiply-adds of all rows.

The paper copies most figures from other papers. Its caption says that all GFLOPs are for 256 × 256 pixels,
but our counts reach several of them at other sizes: `Row.size`. tanet does not have the networks of rows
without a recipe yet.
"""

from dataclasses import replace

from tanet.recipes.artnet import ARTNET_R18
from tanet.recipes.blvnet import BLVNET_24X2
from tanet.recipes.i3d_inception import I3D_INCEPTION
from tanet.recipes.i3d_r50 import NL_I3D_R50
from tanet.recipes.kinetics400 import KINETICS400, KINETICS400_16F
from tanet.recipes.paper.row import Row
from tanet.recipes.recipe import Recipe
from tanet.recipes.s3d import S3D_G
from tanet.recipes.slowfast import SLOWFAST_4X16, SLOWFAST_NL_16X8, SLOWONLY_8X8
from tanet.recipes.tsn import TSN_INCEPTION
from tanet.recipes.vmz import IP_CSN_50, IP_CSN_152, R2PLUS1D_34
from tanet.recipes.x3d import X3D_XL


def _resnet50(temporal: str) -> Recipe:
    """Return a recipe for 16 frames and ResNet-50 with a temporal module."""
    recipe = replace(KINETICS400_16F, model=replace(KINETICS400_16F.model, temporal=temporal))
    return replace(recipe, eval=replace(recipe.eval, clips=10))


def _nl_i3d_128f() -> Recipe:
    """Return a recipe for 128 consecutive frames."""
    model = replace(NL_I3D_R50.model, frames=128)
    return replace(NL_I3D_R50, data=replace(NL_I3D_R50.data, window=128), model=model)


TABLE4: dict[str, Row] = {
    "tsn": Row(
        TSN_INCEPTION,
        gflops=3,
        views=250,
        size=224,
        top1=72.5,
        top5=90.2,
        note="there, a view is one frame (2.88 G): 25 frames × 10 crops are 250 views; trained at 299²",
    ),
    "artnet": Row(
        ARTNET_R18,
        gflops=23.5,
        views=250,
        size=112,
        top1=70.7,
        top5=89.3,
        note="with its fixed pooling, the network in the authors' code has 25.69 G; 23.5 is not explained",
    ),
    "s3d-g": Row(
        S3D_G,
        gflops=71,
        views=30,
        size=224,
        top1=74.7,
        top5=93.4,
        note="Xie et al. (ECCV 2018) print 71.38 G; the layers have 71.92 G",
    ),
    "i3d": Row(
        I3D_INCEPTION,
        weights=("i3d-k400",),
        gflops=108,
        size=224,
        top1=72.1,
        top5=90.3,
        note="Xie et al. (ECCV 2018) print 107.89 G; how they count is not known",
    ),
    "r2plus1d": Row(
        R2PLUS1D_34, weights=("r2plus1d-34-ig65m-k400",), gflops=152, views=10, size=112, top1=74.3, top5=91.4
    ),
    "nl-i3d-32f": Row(NL_I3D_R50, weights=("nl-i3d-r50-32x2-k400",), size=256, top1=74.9, top5=91.6),
    "nl-i3d-128f": Row(
        _nl_i3d_128f(),
        gflops=282,
        views=30,
        size=256,
        has_products=True,
        top1=76.5,
        top5=92.6,
        note="with padding in the first pooling, as in other code, the network has 281.5 G",
    ),
    "ip-csn-50": Row(
        IP_CSN_50,
        gflops=1.2,
        views=10,
        size=224,
        top1=70.8,
        top5=None,
        note="a misprint of 11.9, the network's count at 224 × 224",
    ),
    "tsm": Row(
        _resnet50("tsm"),
        weights=("tsm-r50-16f-k400-official", "tsm-r50-16f-k400"),
        gflops=65,
        views=30,
        size=224,
        top1=74.7,
        top5=91.4,
    ),
    "teinet": Row(_resnet50("tei"), gflops=86, views=30, size=256, top1=76.2, top5=92.5),
    "blvnet-tam": Row(BLVNET_24X2, gflops=93, views=9, size=256, top1=73.5, top5=91.2),
    "slowonly": Row(
        SLOWONLY_8X8,
        weights=("slowonly-r50-8x8-k400-pyslowfast",),
        gflops=42,
        views=30,
        size=224,
        top1=74.8,
        top5=91.6,
    ),
    "slowfast": Row(
        SLOWFAST_4X16,
        weights=("slowfast-r50-4x16-k400-pyslowfast",),
        gflops=36,
        views=30,
        size=256,
        top1=75.6,
        top5=92.1,
    ),
    "tanet-8f": Row(
        KINETICS400, weights=("tanet-r50-k400",), gflops=43, views=30, size=256, top1=76.1, top5=92.3
    ),
    "tanet-16f": Row(KINETICS400_16F, gflops=86, views=12, size=256, top1=76.9, top5=92.9),
    "x3d-xl": Row(
        X3D_XL,
        gflops=48,
        views=30,
        size=356,
        top1=79.1,
        top5=93.9,
    ),
    "ip-csn-152": Row(
        IP_CSN_152, weights=("ip-csn-152-k400",), gflops=83, views=30, size=224, top1=79.2, top5=93.8
    ),
    "slowfast-nl": Row(
        SLOWFAST_NL_16X8,
        gflops=234,
        views=30,
        size=256,
        top1=79.8,
        top5=93.9,
        note="the authors' settings have 3 non-local blocks; with 4, the network would have 234.5 G "
        "without attention's products",
    ),
}
