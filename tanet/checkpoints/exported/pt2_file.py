"""AOTInductor packages (.pt2): the network as machine code for one kind of CPU, run by PyTorch.

Opening a package loads a shared library. Open only files that you trust.
"""

from pathlib import Path
from typing import Any

import torch

from tanet.checkpoints.exported.formats import KEY, cannot_read
from tanet.errors import UserError


class Pt2File:
    """An opened package of AOTInductor."""

    def __init__(self, package: Any) -> None:
        self._package = package
        self.metadata: str | None = package.get_metadata().get(KEY)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32 [B, classes]."""
        return self._package(inputs)


def open_file(path: Path, *, threads: int) -> Pt2File:
    """Open a package of AOTInductor. It runs with PyTorch's number of threads."""
    del threads
    from torch._inductor import aoti_load_package  # imports much

    try:
        package = aoti_load_package(str(path))
    except Exception as error:  # also errors of the operating system's loader
        raise cannot_read(path, "PyTorch", error) from error
    made_for = package.get_metadata().get("AOTI_CPU_ISA", "")
    if "AVX512" in made_for and torch.backends.cpu.get_cpu_capability() != "AVX512":
        raise UserError(f"{path}: compiled for a CPU with {made_for}; export it again on this machine")
    return Pt2File(package)
