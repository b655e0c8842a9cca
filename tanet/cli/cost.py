"""The command `tanet cost`, which counts the parameters and operations of a network and can time it."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.markup import escape
from tyro.conf import Positional, arg

from tanet.checkpoints.sources import is_pretrained
from tanet.cli.common import Device, OptionalFile, load_checkpoint, parse
from tanet.cli.cost_tables import (
    KINETICS,
    NetworkCost,
    Subject,
    show_network,
    show_networks,
    show_speeds,
    show_table,
)
from tanet.cli.lines import err
from tanet.cli.paper_tables import SYSTEMS, System, show_systems
from tanet.errors import UserError
from tanet.models.architectures import ARCHITECTURES, list_models
from tanet.models.factory import build
from tanet.models.network import Network
from tanet.profiling.flops import Cost, build_on_meta, count_cost
from tanet.profiling.latency import Latency, measure_latency
from tanet.recipes import RECIPES, TABLES, find_recipe, find_table
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Network2D, Optim, Recipe
from tanet.runtime.device import pick_device
from tanet.runtime.files import check_outputs, json_bytes, versions, write_atomically


@dataclass(frozen=True)
class CostFlags:
    """Count the parameters and operations of a network and, with --measure, time it.

      tanet cost kinetics400                 a recipe
      tanet cost kinetics400 --size 224      a recipe with another frame size
      tanet cost table2/tsm --measure        a row of Table 2, timed on this machine
      tanet cost slowfast-r50-4x16           a network by its name
      tanet cost runs/mine/best.safetensors  a trained network
      tanet cost --table 4                   a table of the paper beside our counts

    No videos are needed and nothing is trained. Operations are counted for one clip.

    The multiply-adds are those of convolutions, linear layers, temporal filters and attention.

    FLOPs are counted as in the paper's Table 2: one for each multiply-add, except for the matrix products of
    attention, and two for each output element of a BatchNorm.
    """

    network: Positional[Annotated[str, arg(metavar="[RECIPE|NETWORK|CHECKPOINT]", help_behavior_hint="")]] = (
        ""
    )
    """A checkpoint of `tanet train`; a recipe, such as kinetics400 or table2/tsm (`tanet train` lists all);
    or a network, such as tanet-resnet50 (after an unknown name, `tanet cost` lists all). If a name is both
    recipe and network, such as x3d-m, the network is counted, with frames of its training size."""
    table: Annotated[str, arg(metavar=f"{{{','.join(TABLES)}}}", help_behavior_hint="")] = ""
    """Table of the paper. All rows of the table are counted instead of one network."""
    paper: bool = False
    """Show all systems of Tables 4, 6 and 7: network, cost, the paper's accuracy, and public weights."""
    size: Annotated[
        int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the recipe's or the network's)")
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
    model: NetworkSettings = Network2D()


def run(args: list[str]) -> int:
    """Run `tanet cost …`."""
    flags = parse(CostFlags(), args, prog="tanet cost")
    if (bool(flags.network), bool(flags.table), flags.paper).count(True) != 1:
        raise UserError(
            "name a recipe, a network, a checkpoint, a --table or --paper, but only one "
            "(see `tanet cost --help`)"
        )
    check_outputs(flags.json)
    if flags.paper or flags.table in ("6", "7"):
        _keep_model(args, "the tables of the paper")
        return _show_paper(flags)
    if flags.table:
        _keep_model(args, f"the rows of table {flags.table}")
        lines, values = _table_costs(flags)
    else:
        lines = [_cost_of(_subject(flags, args), flags)]
        show_network(lines[0])
        values = [_as_dict(lines[0])]
    device = _describe(pick_device(flags.device)) if flags.measure else None
    if device:
        show_speeds(lines, device)
    if flags.json:
        everything = {"versions": versions(), "device": device, "networks": values}
        write_atomically(flags.json, json_bytes(everything, indent=2))
    return 0


def _show_paper(flags: CostFlags) -> int:
    """Print the systems of the tables that compare TANet with others."""
    if flags.size or flags.classes or flags.measure:
        raise UserError("--paper and --table 6 or 7 count clips as the paper has them: leave out other flags")
    found = show_systems((flags.table,) if flags.table else SYSTEMS)
    if flags.json:
        values = {
            table: {name: _system_as_dict(system) for name, system in rows.items()}
            for table, rows in found.items()
        }
        write_atomically(flags.json, json_bytes({"versions": versions(), "tables": values}, indent=2))
    return 0


def _system_as_dict(system: System | None) -> dict[str, Any] | None:
    if system is None:
        return None
    paper = {key: value for key, value in asdict(system.row).items() if key not in ("recipe", "others")}
    count = system.count
    return {
        "networks": system.titles,
        "frames": system.frames,
        "parameters": count.parameters,
        "macs": count.macs,
        "attention_macs": count.products,
        "paper": paper,
    }


def _table_costs(flags: CostFlags) -> tuple[list[NetworkCost], list[dict[str, Any]]]:
    """Count and print all rows of a table. Return their costs, and the values for the JSON file."""
    rows = find_table(flags.table)
    lines: dict[str, NetworkCost] = {}
    training: dict[str, NetworkCost] = {}
    has_sizes = any(row.size for row in rows.values())
    for name, row in rows.items():
        subject = _of_recipe(name, row.recipe, replace(flags, size=flags.size or row.size))
        lines[name] = _cost_of(subject, flags)
        if has_sizes:
            start = replace(subject, size=row.recipe.data.size)
            is_same = start.size == subject.size
            training[name] = lines[name] if is_same else _cost_of(start, replace(flags, measure=False))
    if has_sizes:
        show_networks(flags.table, lines, rows, training=training)
    else:
        show_table(flags.table, lines, rows)
    values = []
    for name, row in rows.items():
        paper = {key: value for key, value in asdict(row).items() if key not in ("recipe", "others")}
        values.append({**_as_dict(lines[name]), "paper": paper})
        if name in training:
            values[-1]["training"] = {"size": training[name].subject.size, **_operations(training[name].cost)}
    return list(lines.values()), values


def _subject(flags: CostFlags, args: list[str]) -> Subject:
    """Return the network that the user has named.

    The name of an existing file is the name of a checkpoint. Any other name is the name of an architecture,
    of a recipe, of published weights, or an address of the hub.
    """
    name = flags.network
    is_file = Path(name).is_file() or (Path(name) / "best.safetensors").is_file()
    if is_file or (name not in {*ARCHITECTURES, *RECIPES} and is_pretrained(name)):
        _keep_model(args, "a checkpoint")
        trained = load_checkpoint(name, "cpu")
        classes = len(trained.classes)
        if flags.classes not in (None, classes):
            raise UserError(f"{name} has {classes} classes: they cannot be changed to {flags.classes}")
        subject = _of_recipe(name, trained.recipe, flags)
        return replace(subject, classes=classes, network=trained.network)
    if name in ARCHITECTURES:
        found = ARCHITECTURES[name]
        size = found.input_spec.size if flags.size is None else flags.size
        subject = Subject(name, found.settings, _classes(flags), size, Optim().precision)
    else:
        subject = _of_recipe(name, _find_recipe(name), flags)
    # Parse the flags again, now with the values of the recipe or the architecture as defaults.
    flags = parse(CostFlags(model=subject.model), args, prog="tanet cost")
    return replace(subject, model=flags.model)


def _find_recipe(name: str) -> Recipe:
    try:
        return find_recipe(name)
    except UserError as error:
        networks = "" if name.startswith("table") else f", or a network: {', '.join(list_models())}"
        raise UserError(f"{error}{networks}; there is also no file of this name") from error


def _of_recipe(name: str, recipe: Recipe, flags: CostFlags) -> Subject:
    """Return the network of a recipe. The recipe gives the test views, the precision and the frame size."""
    size = recipe.eval.size if flags.size is None else flags.size
    return Subject(name, recipe.model, _classes(flags), size, recipe.optim.precision, recipe.eval)


def _classes(flags: CostFlags) -> int:
    return KINETICS if flags.classes is None else flags.classes


def _keep_model(args: list[str], what: str) -> None:
    if any(arg.startswith("--model.") for arg in args):
        raise UserError(f"--model flags apply only to a recipe or a network, not to {what}: remove them")


def _cost_of(subject: Subject, flags: CostFlags) -> NetworkCost:
    """Return the cost of a network. With --measure, also time the network."""
    network = subject.network
    counted = network or build_on_meta(subject.model, classes=subject.classes)
    cost = count_cost(counted, size=subject.size)
    if not flags.measure:
        return NetworkCost(subject, cost)
    device = pick_device(flags.device)
    network = (network or build(subject.model, classes=subject.classes)).to(device)
    with err.status(f"timing {escape(subject.name)} on {device}"):
        return NetworkCost(subject, cost, _speeds(network, subject, batch=flags.batch))


def _speeds(network: Network, subject: Subject, *, batch: int) -> tuple[Latency, ...]:
    """Time the forward pass of a single clip, and of a batch of `batch` clips."""
    try:
        return tuple(
            measure_latency(network, size=subject.size, batch=n, precision=subject.precision)
            for n in sorted({1, batch})
        )
    except torch.OutOfMemoryError as error:
        raise UserError(f"a batch of {batch} clips does not fit into the GPU: lower --batch") from error


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _as_dict(line: NetworkCost) -> dict[str, Any]:
    """Return the cost of a network as a dict for the JSON file. Operations are counted for one clip."""
    subject = line.subject
    views = {"clips": subject.eval.clips, "crops": subject.eval.crops} if subject.eval else None
    return {
        "name": subject.name,
        "model": {"family": subject.model.family, **asdict(subject.model)},
        "classes": subject.classes,
        "size": subject.size,
        "views": views,
        **_operations(line.cost),
        "paper": None,
        "speeds": [asdict(speed) for speed in line.speeds],
    }


def _operations(cost: Cost) -> dict[str, Any]:
    total = cost.total
    return {
        "parameters": total.parameters,
        "macs": total.macs,
        "attention_macs": total.products,
        "paper_flops": total.paper_flops,
        "parts": asdict(cost),
    }
