"""Networks in ONNX files, as `tanet export` writes them, run by onnxruntime.

The file holds what a checkpoint holds beside the weights: recipe, input specification and class names, as
metadata with the key `tanet`. It takes normalised clips, [B, T, C, H, W], and gives logits, [B, classes].
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.network import Network
from tanet.recipes.input_spec import InputSpec

KEY = "tanet"
INPUT, OUTPUT = "clips", "logits"


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX files need onnxruntime ({error}): pip install 'tanet[onnx]'") from error
    return onnxruntime


class OnnxNetwork(Network):
    """Network that onnxruntime runs on the CPU: clips [B, T, C, H, W] → logits [B, classes].

    It has no features, and cannot be trained.

    Args:
        path: the ONNX file.
        frames: T, frames per clip.
        channels: C, channels of a frame.
        input_spec: how clips must be normalised.
        threads: number of threads; None for PyTorch's number.
    """

    def __init__(
        self, path: Path, *, frames: int, channels: int, input_spec: InputSpec, threads: int | None = None
    ) -> None:
        super().__init__(frames=frames, input_spec=input_spec)
        self.channels = channels
        # Code asks a network's parameters for their device.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self._session = open_session(path, threads=threads)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips on the CPU."""
        self.check_clips(clips)
        (logits,) = self._session.run([OUTPUT], {INPUT: clips.float().cpu().numpy()})
        return torch.from_numpy(logits)


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """Open an ONNX file for onnxruntime, on the CPU.

    Raises:
        UserError: onnxruntime is not installed, or the file cannot be read.
    """
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no base class of its errors
        cause = " ".join(str(error).split())
        raise UserError(f"{path}: onnxruntime cannot read the file: {cause[:200]}") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what `tanet export` has written beside the network: the header of a checkpoint, as plain values.

    Raises:
        UserError: the file cannot be read, or tanet did not write it.
    """
    found = open_session(path, threads=1).get_modelmeta().custom_metadata_map.get(KEY)
    if found is None:
        raise UserError(f"{path}: an ONNX file without tanet's metadata; tanet export writes one with it")
    return json.loads(found)
