"""Tables 4, 6 and 7 of the paper as `tanet cost` prints them: systems, their costs, and their weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from rich import box
from rich.table import Table

from tanet.cli.lines import out, say
from tanet.profiling.flops import Count, build_on_meta, count_cost
from tanet.recipes import TABLES, Row
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings

SYSTEMS = ("4", "6", "7")
"""Tables that compare TANet with other systems."""
CLASSES = {"4": 400, "6": 174, "7": 174}
ROUNDING = 0.5  # the paper prints whole G
SIZE = 224  # Tables 6 and 7, in pixels


@dataclass(frozen=True)
class System:
    """A row of a table: its networks, and what they cost together."""

    row: Row
    count: Count
    """Parameters of all networks, and operations for the clips that the paper's FLOPs are for."""
    titles: tuple[str, ...]
    frames: tuple[int, ...]

    @property
    def gflops(self) -> float:
        """Return the multiply-adds in G that are like the paper's."""
        return (self.count.macs if self.row.has_products else self.count.layers) / 1e9


def count_system(row: Row, *, size: int, classes: int) -> System:
    """Count the networks of a row.

    Args:
        row: the row.
        size: side of the frames, in pixels.
        classes: number of classes.
    """
    models = [recipe.model for recipe in (row.recipe, *row.others)]
    total = Count()
    for model in models:
        one = _count(replace(model, dropout=0.0), size=size, classes=classes)
        operations = Count(0, *(row.clips * part for part in (one.dense, one.taps, one.products, one.norms)))
        total += Count(parameters=one.parameters) + operations
    titles = tuple(dict.fromkeys(_title(model) for model in models))
    return System(row, total, titles, tuple(model.frames for model in models))


@cache
def _count(model: NetworkSettings, *, size: int, classes: int) -> Count:
    """Count a network once, although it is in several rows."""
    return count_cost(build_on_meta(model, classes=classes), size=size).total


def _title(model: NetworkSettings) -> str:
    """Return the name of a network in a few letters."""
    if not isinstance(model, Network2D):
        return model.title.replace(" convolutions", "").replace(" blocks", "")
    temporal = {"none": "TSN", "tam": "TAM", "tsm": "TSM", "gst": "GST", "tei": "TEI"}
    name = "TRN" if model.consensus != "mean" else temporal.get(model.temporal, model.temporal)
    return f"{name}, {model.backbone}"


def show_systems(tables: tuple[str, ...] = SYSTEMS) -> dict[str, dict[str, System]]:
    """Print the systems of tables of the paper. Return them: table → row → system."""
    found: dict[str, dict[str, System]] = {}
    for table in tables:
        rows = TABLES[table]
        found[table] = {
            name: count_system(row, size=row.size or SIZE, classes=CLASSES[table])
            for name, row in rows.items()
        }
        _show(table, found[table], rows)
    say("Train a row with `tanet train tableN/ROW`. Of the other rows, no public weights are known.")
    return found


def _show(table: str, systems: Mapping[str, System], rows: Mapping[str, Row]) -> None:
    say(f"Table {table}: {CLASSES[table]} classes; multiply-adds (G) of the layers, for the paper's clip.")
    grid = Table(box=box.SIMPLE_HEAD, padding=0)
    grid.add_column("row", no_wrap=True)
    grid.add_column("network")
    for header in ("frames", "params\nM", "G", "paper\nG", "top-1", "top-5"):
        grid.add_column(header, justify="right", no_wrap=True)
    for name, system in systems.items():
        row = rows[name]
        paper = "–" if row.gflops is None else f"{row.gflops:g}"
        accuracy = f"{row.top1}", "–" if row.top5 is None else f"{row.top5}"
        clip = "+".join(map(str, system.frames)) + (f"×{row.clips}" if row.clips > 1 else "")
        parameters = f"{system.count.parameters / 1e6:.2f}"
        network = ", ".join(system.titles)
        grid.add_row(name, network, clip, parameters, f"{system.gflops:.2f}", paper, *accuracy)
    out.print(grid)
    for name, system in systems.items():
        row = rows[name]
        if row.note:
            differs = row.gflops is not None and abs(system.gflops - row.gflops) > ROUNDING
            ours = f"{system.gflops:.2f} G here, {row.gflops:g} in the paper: " if differs else ""
            say(f"{name}: {ours}{row.note}")
    known = {name: row.weights for name, row in rows.items() if row.weights}
    say("Public weights (`tanet models NAME`):")
    for name, weights in known.items():
        say(f"  {name}: {', '.join(weights)}")
