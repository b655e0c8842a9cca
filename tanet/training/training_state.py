"""The state of a training run, which is saved in the file out/state-STEPS.pt.

A run that resumes from its state continues as if it had never stopped. The file has this content:

    first line     tanet training state 1
    second line    SHA-256 checksum of the rest, in hexadecimal
    rest           a dict, written by torch.save

Each file is written under a temporary name, synced to disk and then renamed. The previous file is kept.
A file that was truncated or changed later does not match its checksum, so the file is skipped on resume.
Loading a file never executes code that the file contains.
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
ERRORS = ("bad", "bad_val")  # fields with VideoErrors, which are saved as tuples (path, cause)
KEPT_STATES = 2  # number of state files to keep: the newest one and the previous one


@dataclass(frozen=True)
class Position:
    """The point that a training run has reached."""

    epoch: int = 0
    """Number of complete epochs."""
    step: int = 0
    """Steps done in the current epoch."""
    used: int = 0
    """Number of samples of this epoch's `EpochSampler` that this rank has already used."""


@dataclass(frozen=True)
class RankState:
    """The part of the state that differs between ranks."""

    used: int
    """Number of samples of this epoch's `EpochSampler` that this rank has already used."""
    generator: torch.Tensor
    """State of the CPU's random number generator."""
    device_generator: torch.Tensor | None
    """State of the GPU's random number generator; None on a CPU."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that a training run needs in order to resume."""

    identity: dict[str, Any]
    """Values that identify the run, by name: recipe fields, classes, videos and number of processes."""
    epoch: int
    """Number of complete epochs."""
    step: int
    """Steps done in the current epoch. If only the validation remains, all steps of the epoch are done."""
    seconds: float
    """Training time so far, in seconds."""
    best_top1: float
    """Best validation accuracy so far, from 0 to 1. A negative value means that there is none yet."""
    network: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    sums: torch.Tensor
    """Sums of the loss, of correct predictions and of clips over all ranks in the current epoch."""
    ranks: tuple[RankState, ...]
    bad: dict[int, VideoError]
    """Training videos that cannot be read, as a dict from the number of the video to the error."""
    bad_val: dict[int, VideoError]
    """Validation videos that cannot be read, as a dict from the number of the video to the error."""
    input_spec: dict[str, Any] | None = None
    """The network's input specification as a plain dict; None in states that tanet 0.1.0 wrote."""
    temporal_trained: bool | None = None
    """Whether the temporal modules started from trained weights; None in states that tanet 0.1.0 wrote."""


def save(folder: Path, state: TrainingState, *, total: int) -> None:
    """Write a state, and remove old states, so that only the new state and the previous one remain.

    Args:
        folder: folder of the run.
        state: the state; its tensors may be on any device.
        total: steps since the start of training, used in the file's name.

    Raises:
        OSError: the disk is full, or the folder cannot be written. The existing files are left unchanged.
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
    """Return the state files in a folder, oldest first."""
    return sorted(path for path in folder.glob("state-*.pt") if re.fullmatch(r"state-\d{9,}\.pt", path.name))


def load_newest(folder: Path, *, on_event: OnEvent) -> tuple[Path, TrainingState] | None:
    """Load the newest undamaged state in a folder, and return its path and the state.

    If the folder has no state files, return None.

    Args:
        folder: folder of the run.
        on_event: receives a `Note` about each damaged file.

    Raises:
        UserError: the folder has state files, but all of them are damaged.
    """
    paths = list_states(folder)
    for path in reversed(paths):
        try:
            state = load(path)
        except UserError as error:
            on_event(Note(f"{error}; using the state before it" if path != paths[0] else str(error)))
        else:
            return path, state
    if paths:
        raise UserError(
            f"{folder}: none of its {len(paths)} states can be read (the newest is {paths[-1]}); "
            "start a new run with another --out"
        )
    return None


def remove_newer(path: Path) -> None:
    """Remove the unreadable states that are newer than the state at `path`.

    `save` keeps only the states with the highest numbers of steps. Without this function, `save` would keep
    the unreadable states and remove good states.
    """
    for other in list_states(path.parent):
        if other.name > path.name:
            other.unlink()


def load(path: Path) -> TrainingState:
    """Read one state onto the CPU.

    Raises:
        UserError: the file cannot be read, is truncated, was changed, or has the format of another version
            of tanet.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    start = len(MAGIC)
    if content[:start] != MAGIC:
        raise UserError(f"{path}: damaged, or not a training state of this version of tanet")
    data = memoryview(content)[start + 65 :]
    if hashlib.sha256(data).hexdigest().encode() != content[start : start + 64]:
        raise UserError(f"{path}: damaged, because its checksum does not match its content")
    try:
        values = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        values["ranks"] = tuple(RankState(**rank) for rank in values["ranks"])
        for name in ERRORS:
            values[name] = {number: VideoError(*error) for number, error in values[name].items()}
        return TrainingState(**values)
    except (pickle.UnpicklingError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a training state of this version of tanet ({error})") from error


def rng_state(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the states of the random number generators of the CPU and of the GPU.

    On a CPU, the second state is None.
    """
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), gpu


def restore_rng(state: RankState, device: torch.device) -> None:
    """Restore the random number generators of this rank from its saved state."""
    torch.set_rng_state(state.generator)
    if state.device_generator is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state.device_generator, device)
