"""Table 7 of the paper: networks on Something-Something V2.

For example, train one row with `tanet train table7/gst-8f --data.train …`. `tanet cost --table 7` counts the
multiply-adds of a clip of 224² for all rows. The paper prints none.
"""

from dataclasses import replace

from tanet.recipes.blvnet import BLVNET_16X2
from tanet.recipes.cpnet import CPNET_SOMETHING_V2
from tanet.recipes.gst import GST_SOMETHING
from tanet.recipes.paper.row import Row
from tanet.recipes.paper.table6 import of_something
from tanet.recipes.recipe import Recipe
from tanet.recipes.something_v2 import SOMETHING_V2
from tanet.recipes.trn import TRN_MULTISCALE
from tanet.recipes.tsm_flow import TSM_FLOW_SOMETHING_V2_16F


def _six_views(recipe: Recipe, **model: object) -> Recipe:
    """Return a recipe with other settings of its network, tested with 2 clips × 3 crops of 256²."""
    recipe = replace(recipe, model=replace(recipe.model, **model))  # type: ignore[arg-type]
    return replace(recipe, eval=replace(recipe.eval, clips=2, crops=3, resize=256, size=256))


TABLE7: dict[str, Row] = {
    "trn": Row(
        _six_views(TRN_MULTISCALE),
        views=6,
        top1=48.8,
        top5=77.6,
        weights=("trn-multiscale-bn-inception-ssv2", "trn-r50-ssv2"),
        note="the authors test 10 crops of one clip (recipe trn-multiscale)",
    ),
    "tsm-8f": Row(
        _six_views(SOMETHING_V2, temporal="tsm"),
        views=6,
        top1=59.1,
        top5=85.6,
        weights=("tsm-r50-ssv2-official", "tsm-r50-ssv2"),
        note="59.1 / 85.6 are for one view; TSM's authors publish 61.2 for these six",
    ),
    "tsm-16f": Row(
        _six_views(SOMETHING_V2, temporal="tsm", frames=16),
        views=6,
        top1=63.4,
        top5=88.5,
        weights=("tsm-r50-16f-ssv2-official", "tsm-r50-16f-ssv2"),
    ),
    "tsm-rgb-flow": Row(
        _six_views(SOMETHING_V2, temporal="tsm", frames=16),
        others=(TSM_FLOW_SOMETHING_V2_16F,),
        views=6,
        top1=66.0,
        top5=90.5,
        weights=("tsm-r50-16f-ssv2-official",),
        note="the flow network is recipe tsm-flow-something-v2-16f, whose weights are not public",
    ),
    "cpnet": Row(
        CPNET_SOMETHING_V2,
        views=256,
        top1=57.7,
        top5=84.0,
        note="ResNet-34, not ResNet-50; trained with 12 frames, tested with 8 × 6 views of 24",
    ),
    "gst-8f": Row(GST_SOMETHING, views=1, top1=61.6, top5=87.2),
    "gst-16f": Row(of_something(GST_SOMETHING, frames=16), views=1, top1=62.6, top5=87.9),
    "blvnet-tam": Row(
        BLVNET_16X2,
        views=1,
        top1=61.7,
        top5=88.1,
        note="pre-trained on ImageNet; the table says V2",
    ),
    "teinet-8f": Row(of_something(SOMETHING_V2, temporal="tei"), views=1, top1=61.3, top5=None),
    "teinet-16f": Row(of_something(SOMETHING_V2, temporal="tei", frames=16), views=1, top1=62.1, top5=None),
    "tanet-8f-1view": Row(of_something(SOMETHING_V2), views=1, top1=60.5, top5=86.2),
    "tanet-8f": Row(_six_views(SOMETHING_V2), views=6, top1=62.7, top5=88.0),
    "tanet-16f-1view": Row(of_something(SOMETHING_V2, frames=16), views=1, top1=62.5, top5=87.6),
    "tanet-16f": Row(_six_views(SOMETHING_V2, frames=16), views=6, top1=64.6, top5=89.5),
    "tanet-en": Row(
        _six_views(SOMETHING_V2),
        others=(_six_views(SOMETHING_V2, frames=16),),
        views=6,
        top1=66.0,
        top5=90.1,
    ),
}
