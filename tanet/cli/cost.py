"""`tanet cost RECIPE`, `tanet cost CHECKPOINT`, `tanet cost --table 2`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from tanet.cli.common import Device, load_checkpoint, parse
from tanet.cli.console import err, out, say
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.video_net import VideoNet
from tanet.profiling.flops import Cost, build_on_meta, count_cost
from tanet.profiling.latency import Latency, measure_latency
from tanet.recipes import TABLES, Row, find_recipe, find_table
from tanet.recipes.recipe import Eval, Network2D, Recipe
from tanet.runtime.device import pick_device
from tanet.runtime.files import versions, write_atomically

KINETICS = 400  # classes
ROUNDING = 0.02  # GFLOPs; a row that differs more from the paper says why


@dataclass(frozen=True)
class CostFlags:
    """What a network costs: parameters, operations and, with --measure, time.

      tanet cost kinetics400                  a recipe
      tanet cost kinetics400 --size 224       a recipe, with a change
      tanet cost table2/tsm --measure         a row of Table 2, timed here
      tanet cost runs/mine/best.safetensors   a trained network
      tanet cost --table 2                    the paper's table beside our counts

    Nothing is trained and no video is read. Operations are those of one clip.
    Multiply-adds: convolutions, linear layers, filters over time, attention.
    FLOPs as the paper counts them: the same without the products of attention,
    and two for each element that a BatchNorm puts out.
    """

    network: Positional[Annotated[str, arg(metavar="[RECIPE|CHECKPOINT]", help_behavior_hint="")]] = ""
    """A recipe, a row of a table of the paper, or a file that `tanet train` wrote."""
    table: Annotated[str, arg(metavar=f"{{{','.join(TABLES)}}}", help_behavior_hint="")] = ""
    """Instead of one network, all rows of a table of the paper."""
    size: Annotated[
        int | None, arg(metavar="PIXELS", help_behavior_hint="(default: as the recipe tests)")
    ] = None
    """Side of the frames."""
    classes: Annotated[
        int | None, arg(metavar="INT", help_behavior_hint=f"(default: {KINETICS}, or the checkpoint's)")
    ] = None
    """Number of classes."""
    measure: bool = False
    """Run the network on random clips and time it; on a GPU, see its memory as well."""
    batch: int = 8
    """With --measure: clips in the batch that is timed besides a single clip; 1 leaves the single clip."""
    device: Device = "auto"
    """With --measure: where; auto takes a GPU if there is one."""
    json: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the same as JSON, in single operations, seconds and bytes."""
    model: Network2D = Network2D()


@dataclass(frozen=True)
class NetworkCost:
    """A network and what it costs."""

    name: str
    model: Network2D
    eval: Eval
    classes: int
    size: int
    cost: Cost
    speeds: tuple[Latency, ...]


def run(args: list[str]) -> int:
    """`tanet cost …`"""
    flags = parse(CostFlags(), args, prog="tanet cost")
    if bool(flags.network) == bool(flags.table):
        raise UserError("name a recipe, a checkpoint or a --table: `tanet cost --help` shows how")
    rows = find_table(flags.table) if flags.table else {}
    if flags.table:
        _keep_model(args, f"the rows of table {flags.table}")
        lines = [_cost_of(name, row.recipe.model, row.recipe, flags) for name, row in rows.items()]
        _show_table(flags.table, lines, list(rows.values()))
    else:
        lines = [_network_cost(flags, args)]
        _show_network(lines[0])
    device = _describe(pick_device(flags.device)) if flags.measure else None
    if device:
        _show_speeds(lines, device)
    if flags.json:
        networks = [_as_dict(line, rows.get(line.name)) for line in lines]
        values = {"versions": versions(), "device": device, "networks": networks}
        write_atomically(flags.json, json.dumps(values, indent=2, ensure_ascii=False).encode())
    return 0


def _network_cost(flags: CostFlags, args: list[str]) -> NetworkCost:
    """What the command names: a checkpoint where there is a file of that name, or else a recipe."""
    name = flags.network
    if not Path(name).is_file():
        try:
            recipe = find_recipe(name)
        except UserError as error:
            raise UserError(f"{error}; and no file has this name") from error
        # Once more, now that the recipe is known whose values are the defaults.
        flags = parse(CostFlags(model=recipe.model), args, prog="tanet cost")
        # A recipe's sampling may not have as many frames as its network is counted with.
        return _cost_of(name, flags.model, recipe, flags)
    _keep_model(args, "a checkpoint")
    trained = load_checkpoint(Path(name), "cpu")
    classes = len(trained.classes)
    if flags.classes not in (None, classes):
        raise UserError(f"{name} has {classes} classes: they can not be changed to {flags.classes}")
    flags = replace(flags, classes=classes)
    return _cost_of(name, trained.recipe.model, trained.recipe, flags, network=trained.network)


def _keep_model(args: list[str], what: str) -> None:
    if any(arg.startswith("--model.") for arg in args):
        raise UserError(f"--model flags change a recipe, not {what}")


def _cost_of(
    name: str, model: Network2D, recipe: Recipe, flags: CostFlags, *, network: VideoNet | None = None
) -> NetworkCost:
    """The cost of a model, tested and timed as its recipe says."""
    classes = KINETICS if flags.classes is None else flags.classes
    size = recipe.eval.size if flags.size is None else flags.size
    counted = count_cost(network or build_on_meta(model, classes=classes), size=size)
    speeds = ()
    if flags.measure:
        device = pick_device(flags.device)
        network = (network or build(model, classes=classes)).to(device)
        with err.status(f"timing {escape(name)} on {device}"):
            speeds = _speeds(network, recipe, size=size, batch=flags.batch)
    return NetworkCost(name, model, recipe.eval, classes, size, counted, speeds)


def _speeds(network: VideoNet, recipe: Recipe, *, size: int, batch: int) -> tuple[Latency, ...]:
    """One clip alone, and a batch."""
    precision = recipe.optim.precision
    try:
        return tuple(
            measure_latency(network, size=size, batch=n, precision=precision) for n in sorted({1, batch})
        )
    except torch.OutOfMemoryError as error:
        raise UserError(f"{batch} clips at once do not fit into the GPU: lower --batch") from error


def _show_network(line: NetworkCost) -> None:
    """One network, part by part."""
    model = line.model
    say(
        f"{line.name}: {model.backbone} with temporal module {model.temporal}; "
        f"{model.frames} frames of {line.size} × {line.size}, {line.classes} classes"
    )
    total = line.cost.total
    unit, letter = (1e9, "G") if total.macs >= 1e9 else (1e6, "M")
    table = _table("one clip", "parameters", f"multiply-adds\n{letter}", f"FLOPs as in the paper\n{letter}")
    parts = {
        "2D network": line.cost.backbone,
        "temporal modules": line.cost.temporal,
        "classifier": line.cost.classifier,
        "all": total,
    }
    for name, count in parts.items():
        operations = (f"{count.macs / unit:,.3f}", f"{count.paper_flops / unit:,.3f}")
        table.add_row(name, f"{count.parameters:,}", *operations, end_section=name == "classifier")
    out.print(table)
    video = line.eval.clips * line.eval.crops * total.macs
    say(f"views of a video (clips × crops): {_views(line)}, {video / unit:,.3f} {letter} multiply-adds")


def _show_table(name: str, lines: Sequence[NetworkCost], rows: Sequence[Row]) -> None:
    """Our figures and the paper's side by side, and why some differ."""
    size, classes, paper_size = lines[0].size, lines[0].classes, rows[0].recipe.eval.size
    say(f"Table {name}: one clip of {size} × {size}, {classes} classes; FLOPs as the paper counts them")
    has_costs = any(row.gflops for row in rows)
    headers = ["views", "multiply-\nadds G", "parameters", "FLOPs\nG"]
    headers += ["paper\nFLOPs", "paper\nparams"] if has_costs else []
    table = _table("", *headers, "paper\ntop-1", "paper\ntop-5")
    for line, row in zip(lines, rows, strict=True):
        total = line.cost.total
        ours = f"{total.macs / 1e9:.2f}", f"{total.parameters:,}", f"{total.paper_flops / 1e9:.2f}"
        cells = [_views(line), *ours]
        cells += [f"{row.gflops:.2f}G", f"{row.params_m:.2f}M"] if has_costs else []
        table.add_row(line.name, *cells, f"{row.top1}", f"{row.top5}")
    out.print(table)
    if has_costs and (size, classes) != (paper_size, KINETICS):
        say(f"The paper's FLOPs and parameters are for {paper_size} × {paper_size}, {KINETICS} classes.")
        return
    for line, row in zip(lines, rows, strict=True):
        flops = line.cost.total.paper_flops / 1e9
        if row.gflops and abs(flops - row.gflops) > ROUNDING:
            say(f"{line.name}: {flops:.2f} G here, {row.gflops:.2f} G in the paper: {row.note}")


def _show_speeds(lines: Sequence[NetworkCost], device: str) -> None:
    """What `--measure` found."""
    say(f"\nTime from clips to logits, both on the device: {device}, {lines[0].speeds[0].precision}")
    table = _table("", "clips\nat once", "median\nms", "p20–p80\nms", "clips/s", "memory\nMiB")
    for line in lines:
        for speed in line.speeds:
            p20, p50, p80 = (f"{seconds * 1e3:,.1f}" for seconds in (speed.p20, speed.p50, speed.p80))
            memory = "–" if speed.peak_memory is None else f"{speed.peak_memory / 2**20:,.0f}"
            rate = f"{speed.batch / speed.p50:,.1f}"
            table.add_row(escape(line.name), str(speed.batch), p50, f"{p20}–{p80}", rate, memory)
    out.print(table)
    if lines[0].speeds[0].peak_memory is None:
        say("Memory is measured on a GPU only.")


def _table(first: str, *numbers: str) -> Table:
    table = Table(first, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _views(line: NetworkCost) -> str:
    return f"{line.eval.clips} × {line.eval.crops}"


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _as_dict(line: NetworkCost, row: Row | None) -> dict[str, Any]:
    """The line as plain values; operations are those of one clip."""
    total = line.cost.total
    return {
        "name": line.name,
        "model": asdict(line.model),
        "classes": line.classes,
        "size": line.size,
        "views": {"clips": line.eval.clips, "crops": line.eval.crops},
        "parameters": total.parameters,
        "macs": total.macs,
        "paper_flops": total.paper_flops,
        "parts": asdict(line.cost),
        "paper": {name: value for name, value in asdict(row).items() if name != "recipe"} if row else None,
        "speeds": [asdict(speed) for speed in line.speeds],
    }
