"""The state of a training, from which it goes on as if it had never stopped: out/state-STEPS.pt.

    tanet training state 1\n
    SHA-256 of all that follows, in hexadecimal\n
    a dict, as torch.save writes it

A file is written under another name, synced and renamed, and the one before it stays; a file that was cut
short or changed afterwards does not have its checksum and is passed over. Nothing in a file is executed.
"""

import hashlib
import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tanet.errors import UserError
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.files import write_atomically
from tanet.video import VideoError

MAGIC = b"tanet training state 1\n"
ERRORS = ("bad", "bad_val")
KEPT_STATES = 2  # files: the newest and the one before it


@dataclass(frozen=True)
class RankState:
    """What each process has of its own."""

    used: int
    """Keys of its epoch's order that are used up."""
    generator: torch.Tensor
    """State of the CPU's random numbers."""
    device_generator: torch.Tensor | None
    """Of the GPU's; None on a CPU."""


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on."""

    identity: dict[str, Any]
    """What is trained, by name: the recipe's fields, the classes, the videos, the processes."""
    epoch: int
    """Complete epochs."""
    step: int
    """Steps done in the epoch after them; all of its steps if it is only to be validated still."""
    seconds: float
    """Time spent so far."""
    best_top1: float
    """Best validation accuracy so far; below 0 if there is none."""
    network: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    sums: torch.Tensor
    """What the epoch's loss and accuracy are made of so far."""
    ranks: tuple[RankState, ...]
    bad: dict[int, VideoError]
    """Training videos that can not be read, by number."""
    bad_val: dict[int, VideoError]
    """Validation videos, likewise."""
    input_spec: dict[str, Any] | None = None
    """The network's input specification as plain values; None in states of tanet 0.1.0."""


def save(folder: Path, state: TrainingState, *, total: int) -> None:
    """Write a state, and remove those before the one before it.

    Args:
        folder: of the run.
        state: tensors may lie on any device.
        total: steps since the start, by which files are told apart.

    Raises:
        OSError: the disk is full, or the folder can not be written. The files before are as they were.
    """
    content = io.BytesIO()
    values = {**vars(state), "ranks": [vars(rank) for rank in state.ranks]}
    for name in ERRORS:
        values[name] = {number: (str(error.path), error.cause) for number, error in values[name].items()}
    torch.save(values, content)
    data = content.getbuffer()
    digest = hashlib.sha256(data).hexdigest().encode()
    write_atomically(folder / f"state-{total:09}.pt", b"".join((MAGIC, digest, b"\n", data)))
    for path in list_states(folder)[:-KEPT_STATES]:
        path.unlink()


def list_states(folder: Path) -> list[Path]:
    """The files of states in a folder, oldest first."""
    return sorted(path for path in folder.glob("state-*.pt") if re.fullmatch(r"state-\d{9,}\.pt", path.name))


def load_newest(folder: Path, *, on_event: OnEvent) -> tuple[Path, TrainingState] | None:
    """The last complete state in a folder, and its file; None if it has none.

    Args:
        folder: of the run.
        on_event: is told a `Note` about each damaged file.

    Raises:
        UserError: there are states, but all of them are damaged.
    """
    paths = list_states(folder)
    for path in reversed(paths):
        try:
            state = load(path)
        except UserError as error:
            on_event(Note(f"{error}; the state before it is taken" if path != paths[0] else str(error)))
        else:
            return path, state
    if paths:
        raise UserError(f"{folder}: none of its {len(paths)} states can be read; the newest is {paths[-1]}")
    return None


def remove_newer(path: Path) -> None:
    """Remove the states after the one that is taken, which can not be read.

    By their names they would stay the newest, and `save` would remove good ones in their place.
    """
    for other in list_states(path.parent):
        if other.name > path.name:
            other.unlink()


def load(path: Path) -> TrainingState:
    """Read one state, onto the CPU.

    Raises:
        UserError: it can not be read, is cut short, was changed, or is of another tanet's format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can not be read ({error.strerror})") from error
    start = len(MAGIC)
    if content[:start] != MAGIC:
        raise UserError(f"{path}: damaged, or not a training state of this tanet")
    data = memoryview(content)[start + 65 :]
    if hashlib.sha256(data).hexdigest().encode() != content[start : start + 64]:
        raise UserError(f"{path}: damaged, its checksum is not that of its content")
    try:
        values = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        values["ranks"] = tuple(RankState(**rank) for rank in values["ranks"])
        for name in ERRORS:
            values[name] = {number: VideoError(*error) for number, error in values[name].items()}
        return TrainingState(**values)
    except (pickle.UnpicklingError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a training state of this tanet: {error}") from error


def rng_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Where the random numbers stand: the CPU's, and the GPU's if it is one."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), gpu


def restore_rng(state: RankState, device: torch.device) -> None:
    """Let random numbers go on from there."""
    torch.set_rng_state(state.generator)
    if state.device_generator is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state.device_generator, device)
