"""Write the index of published weights, tanet/checkpoints/pretrained/index.csv.

    python -m docs.make_weights_index published.csv    # the whole index
    python -m docs.make_weights_index                  # only the counts of its lines

published.csv is a list of published weights with columns source, name, top1, top5 and url. The rest comes
from docs/published_weights.py. Parameters and operations are counted by this command.
"""

import argparse
import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from docs.published_weights import LICENCES, PACKAGES, ROWS, Row
from tanet.checkpoints.pretrained.entries import CLASSES, INDEX, Entry, read_index
from tanet.models.architectures import find_architecture
from tanet.profiling.flops import Cost, build_on_meta, count_cost
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import SlowFast
from tanet.runtime.files import write_atomically

SIZE_2D = 224  # side of the training crop of a 2D network, in pixels
HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# Accuracies in a line of PySlowFast's list: before the name of the config, in that of an X3D also before
# parameters and FLOPs.
PYSLOWFAST = re.compile(r" (\d\d\.\d) (\d\d\.\d) Kinetics/")
PYSLOWFAST_X3D = re.compile(r" \d\d\.\d (\d\d\.\d) \d+\.\d \d+\.\d+ Kinetics/")
LATERAL_KERNELS = {"slowfast-r101-8x8": 7}
"""Kernels of mmaction2's lateral convolutions that differ from the architecture's."""
FIELDS = [field.name for field in dataclasses.fields(Entry)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("published", nargs="?", type=Path, help="list of published weights")
    path = parser.parse_args().published
    if path is None:
        entries = [recounted(entry) for entry in read_index().values()]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            entries = [recounted(entry) for entry in entries_from(list(csv.DictReader(file)))]
    write_atomically(INDEX, as_csv(entries).encode())


def entries_from(published: list[dict[str, str]]) -> list[Entry]:
    """Return the entries of all rows, without counts. Those that come out of packages are first."""
    found = [_from_package(values) for values in PACKAGES]
    for source, rows in ROWS.items():
        found += [_from_row(source, row, published) for row in rows]
    return found


def _from_row(source: str, row: Row, published: list[dict[str, str]]) -> Entry:
    line: Mapping[str, str] = {}
    url = row.end
    if not url.startswith(("https://", "http://")):
        # A file may be on the list twice; then the line of its own network comes first.
        lines = [one for one in published if one["url"].endswith(row.end)]
        assert len({one["url"] for one in lines}) == 1, row.end
        line, url = lines[0], lines[0]["url"]
    top1, top5 = _accuracies(line)
    kind = "imagenet" if row.data == "imagenet" else "video"
    hash_in_name = HASH.search(url)
    return Entry(
        name=row.name,
        kind=kind,
        architecture=row.architecture,
        data=row.data,
        classes=CLASSES[row.data],
        frames=row.frames or find_architecture(row.architecture).settings.frames,
        top1=row.top1 or top1,
        top5=row.top5 or top5,
        protocol=row.protocol,
        source=source,
        url=url,
        file=url.rpartition("/")[2],
        sha256=hash_in_name[1] if hash_in_name else "",
        licence=LICENCES[source],
        options=row.options,
        parameters=0,
        gflops=0.0,
        size=0,
        package="",
    )


def _accuracies(line: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return the accuracies of a line of the list, which PySlowFast's lines have in their names."""
    if not line:
        return None, None
    if line["top1"]:
        return float(line["top1"]), float(line["top5"]) if line["top5"] else None
    if match := PYSLOWFAST_X3D.search(line["name"]):
        return float(match[1]), None
    if match := PYSLOWFAST.search(line["name"]):
        return float(match[1]), float(match[2])
    return None, None


def _from_package(values: dict[str, Any]) -> Entry:
    video = values["kind"] == "video"
    frames = find_architecture(values["architecture"]).settings.frames if video else 1
    known = {"classes": CLASSES[values["data"]], "frames": frames, "top1": None, "top5": None, "url": ""}
    return Entry(**{**known, "parameters": 0, "gflops": 0.0, **values})


def recounted(entry: Entry) -> Entry:
    """Return an entry with the parameters and operations that we count."""
    settings, size = network_of(entry)
    cost = _cost(settings, size=size, classes=max(entry.classes, 1))
    counted = cost.total if entry.classes else cost.backbone
    return dataclasses.replace(entry, parameters=counted.parameters, gflops=round(counted.macs / 1e9, 2))


@cache
def _cost(settings: NetworkSettings, *, size: int, classes: int) -> Cost:
    return count_cost(build_on_meta(settings, classes=classes), size=size)


def network_of(entry: Entry) -> tuple[NetworkSettings, int]:
    """Return the settings of an entry's network, and the side of its training crop."""
    if entry.kind == "imagenet":
        return Network2D(backbone=entry.architecture, temporal="none", frames=1), SIZE_2D
    architecture = find_architecture(entry.architecture)
    settings = dataclasses.replace(architecture.settings, frames=entry.frames)
    if entry.source == "mmaction2" and isinstance(settings, SlowFast):
        kernel = LATERAL_KERNELS.get(entry.architecture, settings.lateral_kernel)
        settings = dataclasses.replace(settings, lateral_norm=False, lateral_kernel=kernel)
    return settings, architecture.input_spec.size or SIZE_2D


def as_csv(entries: list[Entry]) -> str:
    """Return the content of index.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        values = {name: getattr(entry, name) for name in FIELDS}
        values["options"] = json.dumps(dict(entry.options))
        writer.writerow({name: "" if value is None else value for name, value in values.items()})
    return text.getvalue()


if __name__ == "__main__":
    main()
