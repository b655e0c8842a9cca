"""The formats of exported networks, and how their files are opened.

    format       file             runtime                        where it runs
    onnx         .onnx            onnxruntime and many others    servers, browsers, phones
    pt2          .pt2             PyTorch (AOTInductor)          Python and C++, on CPUs like the exporter's
    pte          .pte             ExecuTorch (XNNPACK)           phones and small devices
    openvino     .xml and .bin    OpenVINO                       Intel CPUs and GPUs

Each file stores the recipe, the input specification and the class names as JSON under the key `tanet`, as a
checkpoint does; under `export`, the JSON has the input that the file takes (`Inputs`).
"""

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, get_args

import torch

from tanet.errors import UserError

FormatName = Literal["onnx", "pt2", "pte", "openvino"]
InputKind = Literal["clips", "frames"]
KEY = "tanet"
OUTPUT = "logits"


@dataclass(frozen=True)
class Format:
    """One format of exported networks."""

    name: FormatName
    suffix: str
    extra: str
    """Extra of the package that installs what is needed; "" for none."""


FORMATS: dict[FormatName, Format] = {
    "onnx": Format("onnx", ".onnx", "onnx"),
    "pt2": Format("pt2", ".pt2", ""),
    "pte": Format("pte", ".pte", "executorch"),
    "openvino": Format("openvino", ".xml", "openvino"),
}


@dataclass(frozen=True)
class Inputs:
    """What an exported network takes.

    clips     normalised clips, float32 [B, T, C, H, W]
    frames    frames of any size as they are decoded, uint8 [B, T, H, W, 3]; the file resizes, crops and
              normalises them
    """

    kind: InputKind
    frames: int
    """T. The weights of TAM fit one T only, so it is fixed."""
    channels: int
    size: int | None
    """Height and width of clips in pixels; None for any."""
    batch: int | None
    """B; None for any."""
    least: int = 64
    """Smallest height and width of clips in pixels, if any size is taken."""

    @classmethod
    def of(cls, values: Any) -> "Inputs":
        """Read the inputs from metadata.

        Raises:
            TypeError, ValueError: a value is missing or cannot be.
        """
        inputs = cls(**values)
        if inputs.kind not in get_args(InputKind):
            raise ValueError(f"input '{inputs.kind}'")
        numbers = inputs.frames, inputs.channels, inputs.size or 1, inputs.batch or 1, inputs.least
        if not all(isinstance(number, int) and number > 0 for number in numbers):
            raise ValueError(f"sizes {numbers}")
        return inputs


class ExportedFile(Protocol):
    """An opened file of an exported network."""

    metadata: str | None
    """JSON with the key `tanet`; None if the file has none."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32 [B, classes]."""
        ...


def format_of(path: Path) -> Format | None:
    """Return the format that a file's suffix stands for, or None if it stands for none."""
    for found in FORMATS.values():
        if path.suffix.lower() == found.suffix:
            return found
    return None


def open_exported(path: Path, *, threads: int | None = None) -> ExportedFile:
    """Open the file of an exported network for the CPU.

    Args:
        path: the file. Its suffix decides the format.
        threads: number of threads, for onnx and openvino; None takes PyTorch's. The others choose their own.

    Raises:
        UserError: the runtime is not installed, or the file cannot be read.
    """
    found = format_of(path)
    assert found is not None
    opener = import_module(f"tanet.checkpoints.exported.{found.name}_file")
    return opener.open_file(path, threads=threads or torch.get_num_threads())


def parse_metadata(path: Path, file: ExportedFile) -> dict[str, Any]:
    """Return what `tanet export` has written beside the network.

    Raises:
        UserError: tanet did not write the file.
    """
    try:
        values = json.loads(file.metadata or "null")
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path}: no tanet metadata, so tanet cannot use it; make the file with tanet export")
    return values


def import_runtime(name: str, kind: FormatName) -> ModuleType:
    """Import a package that a format needs.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        extra = FORMATS[kind].extra
        raise UserError(f"{kind} files need {name} ({error}): pip install 'tanet[{extra}]'") from error


def cannot_read(path: Path, runtime: str, error: Exception) -> UserError:
    """Return the error of a runtime that cannot read a file, on one line."""
    cause = " ".join(str(error).split())[:200]
    return UserError(f"{path}: {runtime} cannot read the file; export it again, or copy it again ({cause})")
