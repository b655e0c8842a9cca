"""Tables that the command `tanet cost` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from tanet.cli.lines import out, say
from tanet.models.network import Network
from tanet.profiling.flops import Cost, Count
from tanet.profiling.latency import Latency
from tanet.recipes import Row
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Eval, Network2D

KINETICS = 400  # classes
# If the FLOPs differ from the paper's by more than ROUNDING (in GFLOPs), the reason is printed.
ROUNDING = 0.02


@dataclass(frozen=True)
class Subject:
    """A network to count and to time."""

    name: str
    model: NetworkSettings
    classes: int
    size: int
    """Side of the square frames, in pixels."""
    precision: Literal["float32", "bfloat16"]
    """Precision of a forward pass on a GPU."""
    eval: Eval | None = None
    """Test views of the recipe; None for an architecture, which has no test views."""
    network: Network | None = None
    """The trained network of a checkpoint."""


@dataclass(frozen=True)
class NetworkCost:
    """A network with its number of parameters and operations, and its measured speed."""

    subject: Subject
    cost: Cost
    speeds: tuple[Latency, ...] = ()


def show_network(line: NetworkCost) -> None:
    """Print the cost of each part of a network."""
    subject, total = line.subject, line.cost.total
    say(
        f"{subject.name}: {subject.model.title}; {subject.model.frames} frames of "
        f"{subject.size} × {subject.size}, {subject.classes} classes"
    )
    unit, letter = (1e9, "G") if total.macs >= 1e9 else (1e6, "M")
    columns = {f"multiply-adds\n{letter}": lambda count: count.macs}
    if total.products:
        columns[f"of these,\nattention's\nproducts {letter}"] = lambda count: count.products
    if isinstance(subject.model, Network2D):
        columns[f"FLOPs as in Table 2\n{letter}"] = lambda count: count.paper_flops
    table = _table("one clip", "parameters", *columns)
    for name, count in _parts(line).items():
        operations = [f"{number(count) / unit:,.3f}" for number in columns.values()]
        table.add_row(name, f"{count.parameters:,}", *operations, end_section=name == "classifier")
    out.print(table)
    if subject.eval is None:
        return
    views = f"views of a video (clips × crops): {_views(subject)}"
    if subject.eval.frames:
        say(f"{views}, of up to {subject.eval.frames} frames")
    else:
        video = subject.eval.clips * subject.eval.crops * total.macs
        say(f"{views}, {video / unit:,.3f} {letter} multiply-adds")


def _parts(line: NetworkCost) -> dict[str, Count]:
    """Return the counts of the parts of a network, and their sum."""
    model, cost = line.subject.model, line.cost
    is_2d = isinstance(model, Network2D)
    parts = {"2D network" if is_2d else "network": cost.backbone}
    if is_2d or model.tam:
        parts["temporal modules"] = cost.temporal
    return {**parts, "classifier": cost.classifier, "all": cost.total}


def show_table(table: str, lines: Mapping[str, NetworkCost], rows: Mapping[str, Row]) -> None:
    """Print tanet's counts next to those of a table in the paper, and the reason for each difference.

    All rows have the same frame size and a recipe.

    Args:
        table: number of the table.
        lines: row → its cost.
        rows: the rows as the paper prints them.
    """
    first = next(iter(lines.values())).subject
    size, classes = first.size, first.classes
    say(f"Table {table}: one clip of {size} × {size}, {classes} classes; FLOPs as the paper counts them")
    has_costs = any(row.gflops for row in rows.values())
    headers = ["views", "multiply-\nadds G", "parameters", "FLOPs\nG"]
    headers += ["paper\nFLOPs", "paper\nparams"] if has_costs else []
    grid = _table("", *headers, "paper\ntop-1", "paper\ntop-5")
    for name, line in lines.items():
        row, total = rows[name], line.cost.total
        ours = f"{total.macs / 1e9:.2f}", f"{total.parameters:,}", f"{total.paper_flops / 1e9:.2f}"
        cells = [_views(line.subject), *ours]
        cells += [f"{row.gflops:.2f}G", f"{row.params_m:.2f}M"] if has_costs else []
        grid.add_row(name, *cells, f"{row.top1}", f"{row.top5}")
    out.print(grid)
    paper_size = first.eval.size if first.eval else size
    if has_costs and (size, classes) != (paper_size, KINETICS):
        say(f"The paper's FLOPs and parameters are for {paper_size} × {paper_size}, {KINETICS} classes.")
        return
    for name, line in lines.items():
        row, flops = rows[name], line.cost.total.paper_flops / 1e9
        if row.gflops and abs(flops - row.gflops) > ROUNDING:
            say(f"{name}: {flops:.2f} G here, {row.gflops:.2f} G in the paper: {row.note}")


def show_networks(
    table: str,
    lines: Mapping[str, NetworkCost],
    rows: Mapping[str, Row],
    *,
    training: Mapping[str, NetworkCost],
) -> None:
    """Print tanet's counts next to those of a table in the paper whose rows have different frame sizes.

    Args:
        table: number of the table.
        lines: row → its cost for frames of the size in `rows`.
        rows: the rows as the paper prints them.
        training: row → its cost for the frames of training.
    """
    say(f"Table {table}: multiply-adds (G) of one clip, at the training input and at frames of size pixels.")
    say("Those of attention's matrix products are apart, after a +.")
    grid = _table(
        "", "training\ninput", "G", "parameters", "size", "G", "paper\nG×views", "top-1", "top-5", space=0
    )
    for name, row in rows.items():
        start, line = training[name], lines[name]
        clip = f"{start.subject.model.frames}×{start.subject.size}²"
        total = line.cost.total
        size, parameters = f"{line.subject.size}", f"{total.parameters:,}"
        cells = [clip, _giga(start.cost.total), parameters, size, _giga(total)]
        figure = "–" if row.gflops is None else f"{row.gflops:g}×{row.views or 'N/A'}"
        grid.add_row(name, *cells, figure, f"{row.top1}", "–" if row.top5 is None else f"{row.top5}")
    out.print(grid)
    counted = {(name, line.subject.size, line.subject.classes) for name, line in lines.items()}
    if counted != {(name, rows[name].size, KINETICS) for name in lines}:
        say(f"The paper's figures are for other sizes, and for {KINETICS} classes.")
        return
    say("The size is where our count comes closest to the paper's figure; the paper says 256 for all rows.")
    for name, row in rows.items():
        if row.note:
            ours = _comparable(lines[name].cost.total, row)
            say(f"{name}: {ours}{row.gflops:g} G in the paper: {row.note}")


def _comparable(count: Count, row: Row) -> str:
    """Return the count that is like the paper's, as the beginning of a sentence."""
    flops, products = (count.macs, " with attention's products") if row.has_products else (count.layers, "")
    return f"{flops / 1e9:.2f} G here{products}, "


def _giga(count: Count) -> str:
    """Return multiply-adds in G; those of attention's products are on a second line."""
    products = f"\n+{count.products / 1e9:.2f}" if count.products else ""
    return f"{count.layers / 1e9:.2f}{products}"


def show_speeds(lines: Sequence[NetworkCost], device: str) -> None:
    """Print the times and the memory that --measure has measured."""
    say(f"\nTime of a forward pass, clips already on the device: {device}, {lines[0].speeds[0].precision}")
    table = _table("", "batch\nsize", "median\nms", "p20–p80\nms", "clips/s", "memory\nMiB")
    for line in lines:
        for speed in line.speeds:
            p20, p50, p80 = (f"{seconds * 1e3:,.1f}" for seconds in (speed.p20, speed.p50, speed.p80))
            memory = "–" if speed.peak_memory is None else f"{speed.peak_memory / 2**20:,.0f}"
            rate = f"{speed.batch / speed.p50:,.1f}"
            table.add_row(escape(line.subject.name), str(speed.batch), p50, f"{p20}–{p80}", rate, memory)
    out.print(table)
    if lines[0].speeds[0].peak_memory is None:
        say("Memory is measured on a GPU only.")


def _table(first: str, *numbers: str, space: int = 1) -> Table:
    table = Table(first, box=box.SIMPLE_HEAD, padding=(0, space, 0, 0))
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _views(subject: Subject) -> str:
    return f"{subject.eval.clips} × {subject.eval.crops}" if subject.eval else ""
