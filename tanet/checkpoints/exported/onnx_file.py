"""ONNX files, run by onnxruntime."""

from pathlib import Path
from typing import Any

import torch

from tanet.checkpoints.exported.formats import KEY, OUTPUT, cannot_read, import_runtime


class OnnxFile:
    """An opened ONNX file."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self.metadata: str | None = session.get_modelmeta().custom_metadata_map.get(KEY)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32 [B, classes]."""
        (logits,) = self._session.run([OUTPUT], {self._input: inputs.numpy()})
        return torch.from_numpy(logits)


def open_file(path: Path, *, threads: int) -> OnnxFile:
    """Open an ONNX file; see `open_exported`."""
    runtime = import_runtime("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return OnnxFile(runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    except Exception as error:  # onnxruntime has no base class of its errors
        raise cannot_read(path, "onnxruntime", error) from error
