"""What a teacher says about clips, and the file that keeps it; see distil.py."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from tanet.errors import UserError
from tanet.runtime.files import write_atomically

DAMAGED = (
    *(EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Errors of NumPy for files of other kinds, and for damaged files."""


@dataclass(frozen=True)
class Answers:
    """What a teacher says about clips."""

    clips: tuple[str, ...]
    """Paths of the clips, relative to the data set: CLASS/NAME."""
    probabilities: Tensor
    """[clips, classes]"""
    classes: tuple[str, ...]
    """The teacher's classes."""
    teacher: str
    """Checkpoint or name of published weights."""


def write_answers(path: Path, answers: Answers) -> None:
    """Write a file of answers, which `read_answers` reads.

    Raises:
        OSError: the file cannot be written.
    """
    file = io.BytesIO()
    np.savez(
        file,
        answers=answers.probabilities.numpy(),
        clips=answers.clips,
        classes=answers.classes,
        teacher=answers.teacher,
    )
    write_atomically(path, file.getvalue())


def read_answers(path: Path) -> Answers:
    """Read a file of answers, which `write_answers` wrote.

    Raises:
        UserError: there is no such file, or it is not a file of answers.
        OSError: the file cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; write it with projects.compare.distil --answers")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = Answers(
                clips=tuple(arrays["clips"].tolist()),
                probabilities=from_numpy(arrays["answers"]),
                classes=tuple(arrays["classes"].tolist()),
                teacher=arrays["teacher"].item(),
            )
    except DAMAGED as error:
        raise UserError(f"{path}: not a file of answers, or a damaged one; give another path") from error
    shape = (len(found.clips), len(found.classes))
    if found.probabilities.shape != shape or not found.probabilities.isfinite().all():
        raise UserError(f"{path}: some answers are missing or not finite; give another path")
    return found
