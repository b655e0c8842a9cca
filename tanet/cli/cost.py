"""The command `tanet cost`, which counts the parameters and operations of a network and can time it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from tanet.cli.common import Device, OptionalFile, load_checkpoint, parse
from tanet.cli.console import err, out, say
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.video_net import VideoNet
from tanet.profiling.flops import Cost, build_on_meta, count_cost
from tanet.profiling.latency import Latency, measure_latency
from tanet.recipes import TABLES, Row, find_recipe, find_table
from tanet.recipes.recipe import Eval, Network2D, Recipe
from tanet.runtime.device import pick_device
from tanet.runtime.files import json_bytes, versions, write_atomically

KINETICS = 400  # classes
# If the FLOPs differ from the paper's by more than ROUNDING (in GFLOPs), the reason is printed.
ROUNDING = 0.02


@dataclass(frozen=True)
class CostFlags:
    """Count the parameters and operations of a network and, with --measure, time it.

      tanet cost kinetics400                 a recipe
      tanet cost kinetics400 --size 224      a recipe with another frame size
      tanet cost table2/tsm --measure        a row of Table 2, timed on this machine
      tanet cost runs/mine/best.safetensors  a trained network
      tanet cost --table 2                   a table of the paper beside our counts

    No videos are needed and nothing is trained. Operations are counted for one clip.

    The multiply-adds are those of convolutions, linear layers, temporal filters and attention.

    The FLOPs follow the paper: one for each multiply-add, except for the matrix products of attention, and
    two for each output element of a BatchNorm.
    """

    network: Positional[Annotated[str, arg(metavar="[RECIPE|CHECKPOINT]", help_behavior_hint="")]] = ""
    """A checkpoint of `tanet train`, or a recipe: kinetics400, kinetics400-16f, something-v1,
    something-v1-16f, something-v2, something-v2-16f, finetune, finetune-cpu, arrow6, verbs, or a row of a
    table in the paper such as table2/tsm; `tanet train` lists the rows."""
    table: Annotated[str, arg(metavar=f"{{{','.join(TABLES)}}}", help_behavior_hint="")] = ""
    """Table of the paper. All rows of the table are counted instead of one network."""
    size: Annotated[
        int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the recipe's eval.size)")
    ] = None
    """Side of the square frames, in pixels."""
    classes: Annotated[
        int | None, arg(metavar="INT", help_behavior_hint=f"(default: {KINETICS}, or the checkpoint's)")
    ] = None
    """Number of classes."""
    measure: bool = False
    """Time the network on random clips. On a GPU, also measure the memory that the network needs."""
    batch: int = 8
    """With --measure: batch size. A single clip is always timed; a larger batch is timed in addition."""
    device: Device = "auto"
    """With --measure: device to time on; auto uses a GPU if there is one."""
    json: OptionalFile = None
    """JSON file to write the results to. The units are operations, seconds and bytes."""
    model: Network2D = Network2D()


@dataclass(frozen=True)
class NetworkCost:
    """A network with its number of parameters and operations, and its measured speed."""

    name: str
    model: Network2D
    eval: Eval
    classes: int
    size: int
    cost: Cost
    speeds: tuple[Latency, ...]


def run(args: list[str]) -> int:
    """Run `tanet cost …`."""
    flags = parse(CostFlags(), args, prog="tanet cost")
    if bool(flags.network) == bool(flags.table):
        raise UserError("name a recipe, a checkpoint or a --table, but only one (see `tanet cost --help`)")
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
        write_atomically(flags.json, json_bytes(values, indent=2))
    return 0


def _network_cost(flags: CostFlags, args: list[str]) -> NetworkCost:
    """Return the cost of the network that the user has named.

    The name of an existing file is the name of a checkpoint. Any other name is the name of a recipe.
    """
    name = flags.network
    if not Path(name).is_file() and not (Path(name) / "best.safetensors").is_file():
        try:
            recipe = find_recipe(name)
        except UserError as error:
            raise UserError(f"{error}; there is also no file of this name") from error
        # Parse the flags again, now with the values of the recipe as defaults.
        flags = parse(CostFlags(model=recipe.model), args, prog="tanet cost")
        # Do not put flags.model into the recipe: the frames of flags.model may not fit the recipe's sampling.
        return _cost_of(name, flags.model, recipe, flags)
    _keep_model(args, "a checkpoint")
    trained = load_checkpoint(Path(name), "cpu")
    classes = len(trained.classes)
    if flags.classes not in (None, classes):
        raise UserError(f"{name} has {classes} classes: they cannot be changed to {flags.classes}")
    flags = replace(flags, classes=classes)
    return _cost_of(name, trained.recipe.model, trained.recipe, flags, network=trained.network)


def _keep_model(args: list[str], what: str) -> None:
    if any(arg.startswith("--model.") for arg in args):
        raise UserError(f"--model flags apply only to a recipe, not to {what}: remove them")


def _cost_of(
    name: str, model: Network2D, recipe: Recipe, flags: CostFlags, *, network: VideoNet | None = None
) -> NetworkCost:
    """Return the cost of a model. With --measure, also time the model.

    The recipe gives the test views, the precision and the frame size. --size overrides the frame size.
    """
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
    """Time the forward pass of a single clip, and of a batch of `batch` clips."""
    precision = recipe.optim.precision
    try:
        return tuple(
            measure_latency(network, size=size, batch=n, precision=precision) for n in sorted({1, batch})
        )
    except torch.OutOfMemoryError as error:
        raise UserError(f"a batch of {batch} clips does not fit into the GPU: lower --batch") from error


def _show_network(line: NetworkCost) -> None:
    """Print the cost of each part of a network."""
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
    """Print tanet's counts next to those of a table in the paper, and the reason for each difference."""
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
    """Print the times and the memory that --measure has measured."""
    say(f"\nTime of a forward pass, clips already on the device: {device}, {lines[0].speeds[0].precision}")
    table = _table("", "batch\nsize", "median\nms", "p20–p80\nms", "clips/s", "memory\nMiB")
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
    """Return the cost of a network as a dict for the JSON file. Operations are counted for one clip."""
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
