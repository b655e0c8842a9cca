"""ExecuTorch programs (.pte), run by its Python runtime."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tanet.checkpoints.exported.formats import KEY, cannot_read, import_runtime


class PteFile:
    """An opened program of ExecuTorch. It takes one clip at a time."""

    def __init__(self, program: Any) -> None:
        self._program = program  # the method is valid only as long as its program
        self._forward = program.load_method("forward")
        self.metadata: str | None = None
        if KEY in program.method_names:
            self.metadata = program.load_method(KEY).execute([])[0]

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32 [B, classes]."""
        with silent_runtime():
            # The next call overwrites the output.
            return torch.cat([self._forward.execute([clip])[0].clone() for clip in inputs.split(1)])


def open_file(path: Path, *, threads: int) -> PteFile:
    """Open a program of ExecuTorch. The runtime chooses the number of threads."""
    del threads
    runtime = import_runtime("executorch.runtime", "pte")
    try:
        with silent_runtime():
            return PteFile(runtime.Runtime.get().load_program(str(path)))
    except Exception as error:  # the runtime raises RuntimeError and others
        raise cannot_read(path, "ExecuTorch", error) from error


@contextmanager
def silent_runtime() -> Iterator[None]:
    """Discard what the runtime's C++ code logs on standard error, for example a line for each mean."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
