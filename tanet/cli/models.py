"""The command `tanet models [WORD …]`, which lists published weights by name, and architectures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import tyro

from tanet.checkpoints.pretrained.cache import cached_path, is_cached
from tanet.checkpoints.pretrained.entries import DATA_NAMES, Entry, find_entry, read_index, search
from tanet.cli.common import parse
from tanet.cli.lines import fail, say
from tanet.models.architectures import ARCHITECTURES, Architecture

Words = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="WORD …", help_behavior_hint="")
]
HEADS = ("name", "data", "top1", "params", "GMACs", "MB ", "source")
LEFT = ("name", "data", "source")
"""Columns of text, which are aligned on the left."""
CACHED = "*"


@dataclass(frozen=True)
class ModelsFlags:
    """List published weights that tanet knows by name, or describe one of them.

    Examples:

      tanet models
      tanet models kinetics tsm
      tanet models tanet-r50-k400
      tanet models --architectures x3d

    The list has the weights whose name, data set, architecture or source contain all words. One whole name
    describes these weights: accuracies, test, licence, address.
    """

    words: Words = ()
    """Words that the weights must match, or one name."""
    json: bool = False
    """Print everything that is known as JSON, on standard output."""
    cached: bool = False
    """Only weights that are in the cache, which need no download."""
    architectures: bool = False
    """List the architectures, which have random weights, instead of published weights."""


def run(args: list[str]) -> int:
    """Run `tanet models [WORD …]` and return the exit status, 1 if nothing matches."""
    flags = parse(ModelsFlags(), args, prog="tanet models")
    if flags.architectures:
        return _list_architectures(flags)
    whole = len(flags.words) == 1 and flags.words[0] in read_index()
    entries = [find_entry(flags.words[0])] if whole else search(flags.words)
    if flags.cached:
        entries = [entry for entry in entries if is_cached(entry)]
    if flags.json:
        _say_json([as_dict(entry) for entry in entries])
    elif not entries:
        where = " in the cache" if flags.cached else ""
        advice = "`tanet models` lists all"
        if not flags.cached and _architectures(flags.words):
            words = " ".join(flags.words)
            advice = f"`tanet models --architectures {words}` lists networks with random weights"
        return fail(f"no weights{where} match {_shown(flags.words)}: {advice}", status=1)
    elif whole:
        _describe(entries[0])
    else:
        for line in table([HEADS, *map(_row, entries)]):
            say(line)
        say(_legend(entries))
    return 0 if entries else 1


def _shown(words: Sequence[str]) -> str:
    return f"'{' '.join(words)}'" if words else "the flags"


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return all that is known of an entry, for JSON."""
    plain = asdict(replace(entry, options=dict(entry.options)))
    return {**plain, "megabytes": round(entry.megabytes, 1), "cached": is_cached(entry)}


def _row(entry: Entry) -> tuple[str, ...]:
    top1 = "–" if entry.top1 is None else f"{entry.top1:.1f}"
    size = f"{entry.megabytes:.0f}{CACHED if is_cached(entry) else ' '}"
    millions = f"{entry.parameters / 1e6:.1f}M"
    return (entry.name, entry.data, top1, millions, f"{entry.gflops:.1f}", size, entry.source)


def table(rows: Sequence[Sequence[str]], *, heads: Sequence[str] = HEADS) -> list[str]:
    """Align the columns of a table. Its first row has the heads."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return [
        " ".join(
            cell.ljust(width) if head in LEFT else cell.rjust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _legend(entries: Sequence[Entry]) -> str:
    """Explain the columns, in lines of at most 80 characters."""
    names = ", ".join(f"{data} {DATA_NAMES[data]}" for data in dict.fromkeys(entry.data for entry in entries))
    lines = [
        "",
        *_wrapped(names),
        "top1: per cent, as published. GMACs: 10⁹ multiply-adds of one clip.",
    ]
    if any(is_cached(entry) for entry in entries):
        lines.append(f"{CACHED} in the cache.")
    return "\n".join([*lines, "tanet models NAME tells the test, the licence and the address."])


def _wrapped(text: str, width: int = 80) -> list[str]:
    lines = [""]
    for part in text.split(", "):
        if len(lines[-1]) + len(part) + 2 > width:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + part
    return lines


def _describe(entry: Entry) -> None:
    """Print all that is known of an entry, one line each."""
    accuracy = " / ".join("–" if value is None else f"{value:.4g}" for value in (entry.top1, entry.top5))
    known = {
        "architecture": entry.architecture,
        "data": DATA_NAMES[entry.data],
        "classes": str(entry.classes) if entry.classes else "none: the file has no classifier",
        "frames": str(entry.frames),
        "top-1 / top-5": f"{accuracy} %, {entry.protocol}" if entry.top1 else "none on record",
        "parameters": f"{entry.parameters:,}",
        "multiply-adds": f"{entry.gflops:.2f} G for one clip",
        "size": f"{'' if entry.size else 'about '}{entry.megabytes:.1f} MB",
        "source": entry.source,
        "licence": f"{entry.licence}, as {entry.source} states",
        "sha256": entry.sha256 or "not published; kept at the first download",
        "address": entry.url or f"{entry.file} in the package {entry.package}",
        "cache": str(cached_path(entry)) if is_cached(entry) else "not in the cache",
    }
    say(entry.name)
    for what, value in known.items():
        say(f"  {what:<14} {value}")
    use = "--init" if entry.kind == "imagenet" else "--model"
    example = (
        f"tanet train finetune --data.root my_videos --init {entry.name}"
        if use == "--init"
        else f"tanet predict --model {entry.name} video.mp4"
    )
    say(f"\n  {example}")


def _architectures(words: Sequence[str]) -> dict[str, Architecture]:
    """Return the architectures whose names or titles contain all words."""
    return {
        name: known
        for name, known in ARCHITECTURES.items()
        if all(word.lower() in f"{name} {known.settings.title}".lower() for word in words)
    }


def _list_architectures(flags: ModelsFlags) -> int:
    found = _architectures(flags.words)
    if flags.json:
        _say_json([_architecture(name, known) for name, known in found.items()])
    elif not found:
        return fail(f"no architecture matches {_shown(flags.words)}", status=1)
    else:
        rows = [("name", "frames", "step", "size")]
        for name, known in found.items():
            spec = known.input_spec
            clip = (str(known.settings.frames), str(spec.frame_step or "–"), str(spec.size))
            rows.append((name, *clip))
        for line in table(rows, heads=rows[0]):
            say(line)
        say("\ntanet cost NAME counts parameters and operations.")
    return 0 if found else 1


def _architecture(name: str, known: Architecture) -> dict[str, Any]:
    settings = known.settings
    return {
        "name": name,
        "family": settings.family,
        "settings": asdict(settings),
        "input": asdict(known.input_spec),
    }


def _say_json(values: list[dict[str, Any]]) -> None:
    print(json.dumps(values, indent=2, ensure_ascii=False))
