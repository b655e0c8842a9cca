"""Sources of weights: a path, the name of published weights, or a checkpoint on the Hugging Face Hub.

best.safetensors        a file, or the folder of a training; a path that exists wins
i3d-k400                published weights; `tanet models` lists the names
hf://user/name@v1       a checkpoint on the hub, with a branch, tag or commit
"""

import re
from pathlib import Path

from tanet.checkpoints.hub import hub_path, is_hub
from tanet.checkpoints.pretrained import fetch
from tanet.checkpoints.pretrained.entries import find_entry, read_index
from tanet.checkpoints.weights import plain_file
from tanet.errors import UserError
from tanet.runtime.events import OnEvent, ignore


def resolve(source: str | Path, *, on_event: OnEvent = ignore) -> Path:
    """Return the path of a source of weights. Download the weights if necessary.

    Args:
        source: a path, a name or an address of the hub, as above.
        on_event: receives `Progress` of a download and `Note`.

    Raises:
        UserError: there is no such source, or it cannot be downloaded.
    """
    if Path(source).exists():
        return Path(source)
    if is_hub(source):
        return hub_path(source, on_event=on_event)
    name = str(source)
    if name in read_index():
        return fetch.fetch(find_entry(name), on_event=on_event)
    raise UserError(f"{name}: no such file{_hint(name)}")


def file_of(source: str | Path, *, on_event: OnEvent = ignore) -> Path:
    """Return the path of a file, of the best checkpoint in a training's folder, or of fetched weights.

    Raises:
        UserError: there is no such file, the file is empty, the folder has no best checkpoint, or the weights
            cannot be fetched.
    """
    return plain_file(resolve(source, on_event=on_event))


def is_pretrained(source: str | Path) -> bool:
    """Return whether a source is not a path, but published weights or a checkpoint on the hub."""
    return not Path(source).exists() and (is_hub(source) or str(source) in read_index())


def _hint(name: str) -> str:
    """Say what a source that is not found may be; "" if it can only be a file."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", name) and not Path(name).suffix:
        return f"; a checkpoint on the Hugging Face Hub is hf://{name}"
    if Path(name).name != name or Path(name).suffix:
        return ""
    try:
        find_entry(name)
    except UserError as error:
        return f", and {error}"
    return ""
