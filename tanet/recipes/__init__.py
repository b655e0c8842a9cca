"""All recipes and the tables of the paper, by name. Each recipe and each table has its own file."""

from tanet.errors import UserError
from tanet.recipes.arrow6 import ARROW6
from tanet.recipes.artnet import ARTNET_R18
from tanet.recipes.blvnet import BLVNET_8X2, BLVNET_16X2, BLVNET_24X2
from tanet.recipes.cpnet import CPNET_SOMETHING_V2
from tanet.recipes.eco import ECO_LITE, ECO_SOMETHING_V1
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.finetune_cpu import FINETUNE_CPU
from tanet.recipes.gst import GST_LARGE_SOMETHING, GST_SOMETHING
from tanet.recipes.i3d_inception import I3D_INCEPTION
from tanet.recipes.i3d_r50 import I3D_R50, I3D_R50_8X8, NL_I3D_R50
from tanet.recipes.kinetics400 import KINETICS400, KINETICS400_16F
from tanet.recipes.paper.row import Row
from tanet.recipes.paper.table1a import TABLE1A
from tanet.recipes.paper.table1b import TABLE1B
from tanet.recipes.paper.table2 import TABLE2
from tanet.recipes.paper.table3 import TABLE3
from tanet.recipes.paper.table4 import TABLE4
from tanet.recipes.paper.table5a import TABLE5A
from tanet.recipes.paper.table5b import TABLE5B
from tanet.recipes.paper.table6 import TABLE6
from tanet.recipes.paper.table7 import TABLE7
from tanet.recipes.recipe import Recipe
from tanet.recipes.region_graph import I3D_SOMETHING, NL_I3D_GCN, NL_I3D_SOMETHING
from tanet.recipes.s3d import S3D_G
from tanet.recipes.slowfast import (
    SLOWFAST_4X16,
    SLOWFAST_8X8,
    SLOWFAST_16X8,
    SLOWFAST_NL_16X8,
    SLOWONLY_8X8,
)
from tanet.recipes.something_v1 import SOMETHING_V1, SOMETHING_V1_16F
from tanet.recipes.something_v2 import SOMETHING_V2, SOMETHING_V2_16F
from tanet.recipes.torchvision_video import MC3_18, R2PLUS1D_18, R3D_18
from tanet.recipes.trn import TRN, TRN_MULTISCALE
from tanet.recipes.tsm_flow import (
    TSM_FLOW_SOMETHING_V1,
    TSM_FLOW_SOMETHING_V2,
    TSM_FLOW_SOMETHING_V2_16F,
)
from tanet.recipes.tsn import TSN, TSN_FLOW, TSN_INCEPTION
from tanet.recipes.verbs import VERBS
from tanet.recipes.vmz import IP_CSN_50, IP_CSN_152, IR_CSN_50, IR_CSN_152, R2PLUS1D_34
from tanet.recipes.x3d import X3D_L, X3D_M, X3D_S, X3D_XL, X3D_XS

__all__ = ["RECIPES", "TABLES", "Row", "find_recipe", "find_table"]

RECIPES: dict[str, Recipe] = {
    "finetune": FINETUNE,
    "finetune-cpu": FINETUNE_CPU,
    "kinetics400": KINETICS400,
    "kinetics400-16f": KINETICS400_16F,
    "something-v1": SOMETHING_V1,
    "something-v1-16f": SOMETHING_V1_16F,
    "something-v2": SOMETHING_V2,
    "something-v2-16f": SOMETHING_V2_16F,
    "tsn-bn-inception": TSN,
    "tsn-inception-v3": TSN_INCEPTION,
    "tsn-flow-bn-inception": TSN_FLOW,
    "tsm-flow-something-v1": TSM_FLOW_SOMETHING_V1,
    "tsm-flow-something-v2": TSM_FLOW_SOMETHING_V2,
    "tsm-flow-something-v2-16f": TSM_FLOW_SOMETHING_V2_16F,
    "trn": TRN,
    "trn-multiscale": TRN_MULTISCALE,
    "eco-lite": ECO_LITE,
    "eco-something-v1": ECO_SOMETHING_V1,
    "gst-something": GST_SOMETHING,
    "gst-large-something": GST_LARGE_SOMETHING,
    "cpnet-something-v2": CPNET_SOMETHING_V2,
    "blvnet-tam-8x2": BLVNET_8X2,
    "blvnet-tam-16x2": BLVNET_16X2,
    "blvnet-tam-24x2": BLVNET_24X2,
    "i3d-something": I3D_SOMETHING,
    "nl-i3d-something": NL_I3D_SOMETHING,
    "nl-i3d-gcn": NL_I3D_GCN,
    "slowonly-8x8": SLOWONLY_8X8,
    "slowfast-4x16": SLOWFAST_4X16,
    "slowfast-8x8": SLOWFAST_8X8,
    "slowfast-16x8": SLOWFAST_16X8,
    "slowfast-nl-16x8": SLOWFAST_NL_16X8,
    "x3d-xs": X3D_XS,
    "x3d-s": X3D_S,
    "x3d-m": X3D_M,
    "x3d-l": X3D_L,
    "x3d-xl": X3D_XL,
    "i3d-inception": I3D_INCEPTION,
    "i3d-r50": I3D_R50,
    "i3d-r50-8x8": I3D_R50_8X8,
    "nl-i3d-r50": NL_I3D_R50,
    "s3d-g": S3D_G,
    "r2plus1d-34": R2PLUS1D_34,
    "ip-csn-50": IP_CSN_50,
    "ip-csn-152": IP_CSN_152,
    "ir-csn-50": IR_CSN_50,
    "ir-csn-152": IR_CSN_152,
    "r2plus1d-18": R2PLUS1D_18,
    "r3d-18": R3D_18,
    "mc3-18": MC3_18,
    "artnet-r18": ARTNET_R18,
    "arrow6": ARROW6,
    "verbs": VERBS,
}

TABLES: dict[str, dict[str, Row]] = {
    "1a": TABLE1A,
    "1b": TABLE1B,
    "2": TABLE2,
    "3": TABLE3,
    "4": TABLE4,
    "5a": TABLE5A,
    "5b": TABLE5B,
    "6": TABLE6,
    "7": TABLE7,
}


def find_table(name: str) -> dict[str, Row]:
    """Return the rows of a table of the paper, in the paper's order.

    Args:
        name: number of the table, for example "1a" or "2".

    Raises:
        UserError: there is no such table. The message lists the known tables.
    """
    if name not in TABLES:
        raise UserError(f"unknown table '{name}': choose from {', '.join(TABLES)}")
    return TABLES[name]


def find_recipe(name: str) -> Recipe:
    """Return the recipe with this name.

    Args:
        name: a key of `RECIPES`, or a row of one of the paper's tables, for example "table2/tsm".

    Raises:
        UserError: there is no such recipe, table or row.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not name.startswith("table"):
        tables = ", ".join(f"table{table}/…" for table in TABLES)
        raise UserError(f"unknown recipe '{name}': choose from {', '.join(RECIPES)}, {tables}")
    table, _, row = name.removeprefix("table").partition("/")
    rows = find_table(table)
    if row not in rows:
        raise UserError(f"unknown row '{row}' of table {table}: choose from {', '.join(rows)}")
    return rows[row].recipe
