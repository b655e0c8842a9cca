"""OpenVINO models (.xml, with the weights in a .bin file beside it)."""

from pathlib import Path
from typing import Any

import torch

from tanet.checkpoints.exported.formats import KEY, cannot_read, import_runtime
from tanet.errors import UserError


class OpenVinoFile:
    """An opened model of OpenVINO."""

    def __init__(self, model: Any, compiled: Any) -> None:
        self.metadata: str | None = str(model.get_rt_info([KEY]).value) if model.has_rt_info([KEY]) else None
        self._compiled = compiled

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32 [B, classes]."""
        # The next call overwrites the output.
        return torch.from_numpy(self._compiled(inputs.numpy())[0]).clone()


def open_file(path: Path, *, threads: int) -> OpenVinoFile:
    """Open a model of OpenVINO; see `open_exported`."""
    openvino = import_runtime("openvino", "openvino")
    if not (weights := path.with_suffix(".bin")).is_file():
        raise UserError(f"{path}: the file of its weights, {weights.name}, is missing beside it")
    # Without the hint, OpenVINO computes in bfloat16 where the CPU can.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    try:
        core = openvino.Core()
        model = core.read_model(path)
        return OpenVinoFile(model, core.compile_model(model, "CPU", options))
    except Exception as error:  # the runtime raises RuntimeError and others
        raise cannot_read(path, "OpenVINO", error) from error
