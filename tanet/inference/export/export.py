"""Export of a network to another format, and the check that the file computes what the network computes.

    clips, normalised, float32 [B, T, C, H, W]                →  logits, float32 [B, classes]
    frames as decoded, uint8 [B, T, H, W, 3], any H and W     →  logits, float32 [B, classes]

The batch is dynamic, except in ExecuTorch programs, and so are height and width of clips if asked for. T
is fixed, because the weights of TAM fit one T. After the file is written, its runtime runs it on inputs of
several batches and sizes. If it differs from the network, it is deleted. Export serves to run a network
elsewhere, not to make it faster.
"""

import copy
import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from tanet.checkpoints.checkpoint import Checkpoint, Header, header_values
from tanet.checkpoints.exported.formats import (
    FORMATS,
    ExportedFile,
    FormatName,
    InputKind,
    Inputs,
    format_of,
    import_runtime,
    open_exported,
)
from tanet.checkpoints.exported.network import ExportedNetwork
from tanet.errors import UserError
from tanet.inference.export.frame_input import FrameInput
from tanet.inference.export.writers import WRITERS, failure, trace
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Eval, Recipe
from tanet.runtime.files import versions

BATCHES = (1, 2, 5)
ROOM = 1_000_000  # bytes; with less, a failure to write has this cause
TOLERANCE = 1e-5
"""Largest error of a logit that is accepted, relative to the largest logit."""
NOT_WINDOWED, WINDOWED = 64, 256
"""Smallest sizes if any size is taken. A network that averages windows of the last map needs a map that is
larger than a window; others need a map of more than one place."""
STEP = 32
"""Steps, in pixels, of the sizes that are tried if height and width are dynamic; BN-Inception needs 32."""
FRAME_SIZES = ((240, 426), (480, 270))
"""Heights and widths of the frames that are tried, landscape and portrait, beside one without resizing."""
NEEDED = {"onnx": ("onnxscript", "onnxruntime"), "pte": ("executorch.exir",), "openvino": ("openvino",)}


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared with its network."""

    path: Path
    megabytes: float
    error: float
    """Largest error of a logit, relative to the largest logit."""

    @property
    def summary(self) -> str:
        """What the comparison has found, for the user."""
        return f"logits differ by at most {self.error:.1e} of the largest one"


def export(
    model: Checkpoint,
    path: str | Path,
    *,
    to: FormatName | None = None,
    input: InputKind = "clips",
    size: int | None = None,
    any_size: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a network in the format of another runtime, and compare the file with the network.

    Args:
        model: checkpoint. It is not changed.
        path: file to write. An existing file is replaced only if the new one passes the comparison.
        to: the format (exported/formats.py); None chooses it by the suffix of `path`.
        input: "clips" for normalised clips, or "frames" for frames as they are decoded, which the file
            resizes, crops and normalises.
        size: height and width of the clips, or of the crop that the file cuts from frames, in pixels; None
            for those of the recipe's test views.
        any_size: whether the file takes clips of any height and width. Tracing then takes about a minute.
        on_step: receives what is being done.

    Returns:
        What was written, with the largest error of the file's logits.

    Raises:
        UserError: a package is missing, the network cannot be exported, or the file differs from it.
    """
    path = Path(path)
    to = check_target(path, to)
    if input not in get_args(InputKind):
        raise UserError(f"unknown input '{input}': choose from {', '.join(get_args(InputKind))}")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise UserError(f"size must be a positive number of pixels, not {size!r}")
    if any_size and input == "frames":
        raise UserError("any_size is for clips: frames have any size in any case")
    job = prepare(model, to, input=input, size=size, any_size=any_size)
    with unfinished(path) as draft:
        on_step(f"tracing {job.recipe.model.title}")
        program = trace(job.module, job.inputs)
        on_step(f"writing {path.name}")
        with errors_as_user_errors(path, f"written as {to}"):
            WRITERS[to](program, draft, inputs=job.inputs, metadata=job.metadata)
        on_step("comparing the file with the network")
        try:
            error, bound = compare(job.module, open_exported(draft), job.inputs, job.recipe.eval)
        except RuntimeError as error:
            raise failure("run after the export", error) from error
        if not error <= bound:
            raise UserError(f"{path}: the exported network differs by {error:.1e}, so the file was deleted")
        megabytes = size_of(draft)
    return Exported(path, megabytes, error)


@dataclass(frozen=True)
class Job:
    """What an export traces, and what it writes beside the network."""

    module: nn.Module
    recipe: Recipe
    inputs: Inputs
    metadata: str
    """JSON with the key `tanet`."""


def prepare(model: Checkpoint, to: FormatName, *, input: InputKind, size: int | None, any_size: bool) -> Job:
    """Make what an export traces; see `export`.

    Raises:
        UserError: the network cannot be exported.
    """
    if isinstance(model.network, ExportedNetwork):
        raise UserError("an exported network cannot be exported again: name the checkpoint it was made from")
    recipe, frames = exported_recipe(model.recipe, size=size, input=input)
    inputs = Inputs(
        input,
        frames=frames,
        channels=model.network.channels,
        size=None if any_size or input == "frames" else recipe.eval.size,
        batch=1 if to == "pte" else None,
        least=WINDOWED if model.network.averages_windows else NOT_WINDOWED,
    )
    _check(recipe, inputs, to)
    network = copy.deepcopy(model.network).cpu().float().eval()
    if frames != network.frames:
        network.set_frames(frames)
    module: nn.Module = FrameInput(network, recipe.eval) if input == "frames" else network
    info = {**model.info, "versions": versions()}
    values = header_values(Header(recipe, network.input_spec, model.classes, info))
    return Job(module, recipe, inputs, json.dumps({**values, "export": asdict(inputs)}))


def size_of(draft: Path) -> float:
    """Return the size of a file and of those written beside it, in megabytes."""
    return sum(file.stat().st_size for file in draft.parent.iterdir()) / 1e6


def check_target(path: Path, to: FormatName | None) -> FormatName:
    """Return the format of a file to write.

    Raises:
        UserError: the suffix of the name is that of another format, or of none; or a package is missing.
    """
    found = format_of(path)
    if to is None and found is None:
        names = ", ".join(f"{entry.suffix} ({entry.name})" for entry in FORMATS.values())
        raise UserError(f"{path}: the name must end in the suffix of a format: {names}")
    name = to or found.name  # type: ignore[union-attr]
    if name not in FORMATS:
        raise UserError(f"unknown format '{name}': choose from {', '.join(FORMATS)}")
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file")
    if found is None or found.name != name:
        raise UserError(f"{path}: the name of {name} files must end in {FORMATS[name].suffix}")
    for package in NEEDED.get(name, ()):
        import_runtime(package, name)
    return name


def exported_recipe(recipe: Recipe, *, size: int | None, input: InputKind) -> tuple[Recipe, int]:
    """Return the recipe of an exported network, and its T.

    T is the number of frames of a test clip. A network that is tested on clips of any length
    (`eval.frames`) gets clips as long as in training, because T is fixed.
    """
    eval = recipe.eval
    frames = eval.clip_frames or recipe.model.frames
    eval = replace(eval, frames=0)
    if size and size != eval.size:
        scale = size / eval.size
        resize, width = max(size, round(eval.resize * scale)), round(eval.resize_width * scale)
        eval = replace(eval, size=size, resize=resize, resize_width=width and max(width, size))
    if input == "frames":
        eval = replace(eval, crops=1)
    return replace(recipe, eval=eval), frames


def _check(recipe: Recipe, inputs: Inputs, to: FormatName) -> None:
    """Raise a UserError if a network cannot be exported."""
    if isinstance(recipe.model, RegionGraphNet):
        raise UserError(f"{recipe.model.title} needs regions beside the clip and cannot be exported")
    if inputs.kind == "frames" and recipe.model.is_flow:
        raise UserError("networks of optical flow take clips of flow, not frames: export them with clips")
    if inputs.kind == "frames" and to == "pte":
        raise UserError("ExecuTorch has no resizing with antialiasing: export clips, or frames to onnx")
    if not inputs.size and inputs.kind == "clips" and to == "pte":
        raise UserError("height and width of ExecuTorch's programs are fixed: leave out --any-size")


@contextmanager
def errors_as_user_errors(path: Path, what: str) -> Iterator[None]:
    """Turn errors of an exporter into UserErrors, but pass Ctrl-C on."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the exporters raise errors of many classes
        if "KeyboardInterrupt" in str(error):  # some exporters wrap it
            raise KeyboardInterrupt from error
        if getattr(error, "errno", 0) == errno.ENOSPC or shutil.disk_usage(path.parent).free < ROOM:
            raise UserError(f"{path}: no space left on the disk") from error
        raise failure(what, error) from error


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Yield a path in a hidden temporary folder; on success, move its files next to `path`.

    After an error, nothing is moved. The folder is always removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
        yield Path(folder) / path.name
        # The file itself comes last, so that it is never without its weights.
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
            shutil.move(file, path.parent / file.name)


@torch.inference_mode()
def compare(network: nn.Module, file: ExportedFile, inputs: Inputs, eval: Eval) -> tuple[float, float]:
    """Compare a file's logits with the network's, for random inputs.

    Returns:
        The largest error of a logit, relative to the largest logit, and the error that is allowed: TOLERANCE
        or, for frames, the change of the logits when all pixels change by one grey level, because runtimes
        round resized pixels differently.
    """
    worst, bound = 0.0, TOLERANCE
    for example in examples(inputs, eval):
        wanted = network(example)
        scale = wanted.abs().max().clamp(min=1e-12)
        error = float((file(example) - wanted).abs().max() / scale)
        if isinstance(network, FrameInput):
            change = float((network.changed_by_one_level(example) - wanted).abs().max() / scale)
            # Frames that need no resizing must agree as clips do.
            exact = min(example.shape[2:4]) == eval.resize and not eval.resize_width
            if exact and error > TOLERANCE:
                return error, TOLERANCE
            bound = max(bound, change)
        worst = max(worst, error)
    return worst, bound


def examples(inputs: Inputs, eval: Eval) -> Iterator[torch.Tensor]:
    """Make random inputs of several batches and, where these are free, several sizes."""
    generator = torch.Generator().manual_seed(0)
    size, resize = eval.size, eval.resize
    sizes = [(size, size)] * len(BATCHES)
    if not inputs.size:
        size = max(size, inputs.least)
        sizes = [(size, size), (size + STEP, size), (size, size + 2 * STEP)]
    if inputs.kind == "frames":
        sizes = [*FRAME_SIZES, (resize, resize * 4 // 3)]
    for batch, (height, width) in zip(BATCHES, sizes, strict=True):
        if inputs.kind == "frames":
            # Blurred noise, as a shift by one pixel changes it by more than a rounding error does.
            shape = (batch * inputs.frames, 3, height // 8, width // 8)
            coarse = 255 * torch.rand(shape, generator=generator)
            smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
            clips = smooth.round().to(torch.uint8).unflatten(0, (batch, -1))
            yield clips.permute(0, 1, 3, 4, 2).contiguous()
        else:
            yield torch.randn(batch, inputs.frames, inputs.channels, height, width, generator=generator)
