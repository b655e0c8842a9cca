"""How a traced network becomes a file: one function for each format."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from tanet.checkpoints.exported.formats import KEY, OUTPUT, FormatName, Inputs, import_runtime
from tanet.errors import UserError

STRIDE = 32
"""Distance of two places of the last feature maps, in pixels."""


def trace(network: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Trace a network as a graph.

    Dynamic heights and widths are multiples of STRIDE if the network's pooling needs even sizes (Inception).

    Raises:
        UserError: PyTorch cannot trace it.
    """
    # A batch of 1 would become a constant of the graph.
    batch, side = inputs.batch or 2, inputs.size or inputs.least + 2 * STRIDE
    free: dict[int, Any] = {} if inputs.batch else {0: torch.export.Dim("batch", min=1)}
    if inputs.kind == "frames":
        # Sizes that differ, so that none is taken for the other.
        example = torch.zeros(batch, inputs.frames, 240, 320, inputs.channels, dtype=torch.uint8)
        free |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
        return _traced(network, example, free)
    example = torch.zeros(batch, inputs.frames, inputs.channels, side, side)
    if inputs.size:
        return _traced(network, example, free)
    height, width = (torch.export.Dim(name, min=inputs.least) for name in ("height", "width"))
    try:
        return _traced(network, example, {**free, 3: height, 4: width})
    except UserError:
        height, width = (torch.export.Dim(name, min=inputs.least // STRIDE) for name in ("rows", "columns"))
        return _traced(network, example, {**free, 3: STRIDE * height, 4: STRIDE * width})


def _traced(network: nn.Module, example: torch.Tensor, free: dict[int, Any]) -> ExportedProgram:
    with silence(), torch.inference_mode(False), torch.no_grad():
        try:
            return torch.export.export(network, (example,), dynamic_shapes=(free,))
        except Exception as error:  # PyTorch raises errors of many classes here
            raise failure("traced", error) from error


def write_onnx(program: ExportedProgram, path: Path, *, inputs: Inputs, metadata: str) -> None:
    """Write an ONNX file."""
    import_runtime("onnxscript", "onnx")
    with silence():
        written = torch.onnx.export(
            program, (), input_names=[inputs.kind], output_names=[OUTPUT], dynamo=True, verbose=False
        )
    assert written is not None
    written.model.metadata_props[KEY] = metadata
    written.save(str(path))


def write_pt2(program: ExportedProgram, path: Path, *, inputs: Inputs, metadata: str) -> None:
    """Compile a network for this machine's CPU, and write it as a package of AOTInductor."""
    del inputs
    from torch._inductor import aoti_compile_and_package

    settings = {"aot_inductor.metadata": {KEY: metadata}}
    with silence():
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)


def write_pte(program: ExportedProgram, path: Path, *, inputs: Inputs, metadata: str) -> None:
    """Lower a network to XNNPACK, and write it as a program of ExecuTorch."""
    del inputs
    with silence():
        exir = import_runtime("executorch.exir", "pte")
        xnnpack = import_runtime("executorch.backends.xnnpack.partition.xnnpack_partitioner", "pte")
        lowered = exir.to_edge_transform_and_lower(
            program, partitioner=[xnnpack.XnnpackPartitioner()], constant_methods={KEY: metadata}
        )
        path.write_bytes(lowered.to_executorch().buffer)


def write_openvino(program: ExportedProgram, path: Path, *, inputs: Inputs, metadata: str) -> None:
    """Write a model of OpenVINO with float32 weights: an .xml file, and a .bin file beside it."""
    save_openvino(to_openvino(program, path, inputs), path, metadata)


def to_openvino(program: ExportedProgram, path: Path, inputs: Inputs) -> Any:
    """Convert a traced network to a model of OpenVINO. A file at `path` may be used on the way."""
    openvino = import_runtime("openvino", "openvino")
    if inputs.kind == "frames":
        # OpenVINO reads arithmetic of sizes from ONNX files, but not from PyTorch's graphs.
        step = path.with_suffix(".onnx")
        write_onnx(program, step, inputs=inputs, metadata="")
        model = openvino.convert_model(step)
        step.unlink()
        _resize_as_pillow(model)
        return model
    with silence():
        return openvino.convert_model(program)


def _resize_as_pillow(model: Any) -> None:
    """Make a model's resizing antialias as PIL does, in place; OpenVINO ignores the attribute from ONNX."""
    opset = import_runtime("openvino.opset11", "openvino")
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate" and node.get_attributes()["antialias"]:
            pictures, sizes, *axes = (port.get_source_output() for port in node.inputs())
            resized = opset.interpolate(
                pictures, sizes, "bilinear_pillow", "sizes", axes=axes[0] if axes else None
            )
            node.output(0).replace(resized.output(0))


def save_openvino(model: Any, path: Path, metadata: str) -> None:
    """Name the output of a model of OpenVINO, add the metadata, and write it."""
    openvino = import_runtime("openvino", "openvino")
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.set_rt_info(metadata, [KEY])
    openvino.save_model(model, str(path), compress_to_fp16=False)


WRITERS: dict[FormatName, Callable[..., None]] = {
    "onnx": write_onnx,
    "pt2": write_pt2,
    "pte": write_pte,
    "openvino": write_openvino,
}


def failure(what: str, error: Exception) -> UserError:
    """Return the error of a step of an export, on one line."""
    cause = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
    return UserError(f"this network cannot be {what}: {cause[:300]}")


@contextmanager
def silence() -> Iterator[None]:
    """Discard what exporters print and log."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
