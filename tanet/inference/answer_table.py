"""CSV file of answers: one line for each video, with the five best labels, or the error.

Each line is written at once, as soon as the video is labelled. If the program is killed, the file has
complete lines for the videos until then.
"""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from tanet.errors import UserError
from tanet.inference.predict import Prediction
from tanet.runtime.files import text_bytes
from tanet.video import VideoError

BEST = 5
LABELS = [name for place in range(2, BEST + 1) for name in (f"label{place}", f"score{place}")]
COLUMNS = ("video", "label", "score", *LABELS, "frames", "note", "error")


class AnswerTable:
    """Context manager that writes answers to a CSV file. It replaces an older CSV file of answers.

    Args:
        path: file to write.

    Raises:
        UserError: the file has another content, which would be lost.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise UserError(f"{path}: a folder; name a CSV file")
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                first = file.read(len(_line(COLUMNS)))
            if first != _line(COLUMNS):
                raise UserError(f"{path}: exists, and is not a CSV file of answers: choose another file")
        path.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.file = self.path.open("wb", buffering=0)
        self._write(COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, answer: Prediction | VideoError) -> None:
        """Write the answer for a video, or its error."""
        if isinstance(answer, VideoError):
            self._write([str(answer.path), *[""] * (len(COLUMNS) - 2), answer.cause])
            return
        best: list[object] = [value for pair in answer.top5 for value in (pair[0], f"{pair[1]:.6g}")]
        best += [""] * (2 * BEST - len(best))
        self._write([answer.video, *best, answer.frames, answer.note, ""])

    def _write(self, values: Iterable[object]) -> None:
        line = _line(values)
        while line:  # a pipe may take a part only
            line = line[os.write(self.file.fileno(), line) :]


def _line(values: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text_bytes(text.getvalue())
