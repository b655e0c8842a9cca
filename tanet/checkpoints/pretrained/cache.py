"""The cache folder of published weights.

    models/NAME.safetensors     converted weights; models/NAME.json beside it is their record
    downloads/NAME/FILE         a file or archive as it was published, until it is converted

The record has the address and the sha256 of the published file, and the sha256 of the converted file. It is
written last, so weights without a record are unfinished and are not used.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

from tanet.checkpoints.pretrained.entries import Entry
from tanet.checkpoints.pretrained.packages import ARCHIVES
from tanet.runtime.files import json_bytes, sha256_of, write_atomically

CONVERSION = 1
"""Version of the conversion. A change that alters converted files needs a new number."""
State = Literal["cached", "absent", "damaged"]


def cache_folder() -> Path:
    """Return the cache folder: TANET_HOME if it is set, else a folder in the platform's cache."""
    if home := os.environ.get("TANET_HOME"):
        return Path(home).expanduser()
    if sys.platform == "win32":
        above = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        above = Path.home() / "Library" / "Caches"
    else:
        above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(above) / "tanet"


def cached_path(entry: Entry) -> Path:
    """Return the path of an entry's converted weights, whether or not they are there."""
    return cache_folder() / "models" / f"{entry.name}.safetensors"


def original_path(entry: Entry) -> Path:
    """Return the path of an entry's published file or archive. A user without access can put it there."""
    name = ARCHIVES[entry.package] if entry.package else entry.file
    return cache_folder() / "downloads" / entry.name / name


def is_cached(entry: Entry) -> bool:
    """Return whether an entry's weights are in the cache and undamaged."""
    return cache_state(entry) == "cached"


def cache_state(entry: Entry) -> State:
    """Return whether an entry's weights are in the cache.

    A file whose size and time are those of the record is undamaged. Otherwise, its content decides.
    """
    path, record = cached_path(entry), read_record(entry)
    if not path.is_file() or not record or any(record.get(k) != v for k, v in _origin(entry).items()):
        return "absent"
    if [record.get("cached_size"), record.get("cached_time")] == _size_and_time(path):
        return "cached"
    return "cached" if sha256_of(path) == record.get("cached_sha256") else "damaged"


def read_record(entry: Entry) -> dict[str, Any]:
    """Return the record of an entry's weights; empty if there is none, or if it cannot be read."""
    try:
        record = json.loads(cached_path(entry).with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(entry: Entry, *, sha256: str) -> None:
    """Write the record of an entry's weights, which are in the cache.

    Args:
        entry: the entry.
        sha256: hash of the published file.
    """
    path = cached_path(entry)
    size, time = _size_and_time(path)
    record = {
        **_origin(entry),
        "sha256": sha256,
        "licence": entry.licence,
        "cached_sha256": sha256_of(path),
        "cached_size": size,
        "cached_time": time,
    }
    write_atomically(path.with_suffix(".json"), json_bytes(record, indent=2))


def pinned_sha256(entry: Entry) -> str:
    """Return the hash that an entry's published file had at its first download; "" before that."""
    record = read_record(entry)
    pinned = record.get("sha256", "")
    same = (record.get("url"), record.get("package")) == (entry.url, entry.package)
    return pinned if same and isinstance(pinned, str) else ""


def _origin(entry: Entry) -> dict[str, Any]:
    """Return the values of a record that say what was converted, and how."""
    origin = {
        "name": entry.name,
        "url": entry.url,
        "package": entry.package,
        "file": entry.file,
        "options": dict(entry.options),
        "conversion": CONVERSION,
    }
    return json.loads(json_bytes(origin))  # tuples become lists, as in a record


def _size_and_time(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
