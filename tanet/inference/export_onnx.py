"""Export of a network to ONNX, and the proof that the file computes what the network computes.

    clips, normalised, float32 [B, T, C, H, W]  →  logits, float32 [B, classes]

The batch is dynamic, and so are height and width if asked for; T is not: the weights of TAM fit one T only.
After the file is written, onnxruntime runs it on clips of several batches. If it differs from the network, it
is deleted. Export is for reach, not for speed.
"""

import copy
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch

from tanet.checkpoints.checkpoint import Checkpoint, Header, header_metadata
from tanet.checkpoints.onnx_file import INPUT, KEY, OUTPUT, import_onnxruntime, open_session
from tanet.errors import UserError
from tanet.models.network import Network
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.runtime.files import versions

BATCHES = (1, 2, 5)
TOLERANCE = 1e-5
"""Largest error of a logit that is accepted, relative to the largest logit."""
STEP = 32
"""Sizes that are tried with dynamic height and width are multiples of it, as BN-Inception needs."""


def export_onnx(
    model: Checkpoint,
    path: Path,
    *,
    size: int | None = None,
    any_size: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> float:
    """Write a network as an ONNX file, and compare the file with the network.

    Args:
        model: checkpoint. It is not changed.
        path: file to write. An existing file is replaced only if the new one is right.
        size: side of the frames, in pixels; None for that of the recipe's test views.
        any_size: whether the file takes frames of any height and width. Tracing then takes about a minute.
        on_step: receives what is being done.

    Returns:
        The largest error of the file's logits, relative to the largest logit.

    Raises:
        UserError: a package is missing, the network cannot be exported, or the file differs from it.
    """
    import_onnxruntime()
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"export needs onnxscript ({error}): pip install 'tanet[onnx]'") from error
    recipe = model.recipe
    if isinstance(recipe.model, RegionGraphNet):
        raise UserError(f"{recipe.model.title} needs regions beside the clip and cannot be exported")
    network = copy.deepcopy(model.network).cpu().float().eval()
    size = size or recipe.eval.size
    unfinished = path.with_name(f".{path.stem}.part.onnx")
    header = Header(recipe, model.network.input_spec, model.classes, {**model.info, "versions": versions()})
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        on_step(f"tracing {recipe.model.title}")
        _write(network, unfinished, header_metadata(header)[KEY], size=size, any_size=any_size)
        on_step("comparing the file with the network")
        error = largest_error(network, unfinished, size=size, any_size=any_size)
        if not error <= TOLERANCE:
            raise UserError(f"{path}: the exported network differs by {error:.1e}, so the file was deleted")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return error


def _write(network: Network, path: Path, metadata: str, *, size: int, any_size: bool) -> None:
    # A batch of 1 would be traced as a constant.
    clips = torch.zeros(2, network.frames, network.channels, size, size)
    dynamic = {0: torch.export.Dim("batch", min=1)}
    if any_size:
        dynamic |= {3: torch.export.Dim("height", min=STEP), 4: torch.export.Dim("width", min=STEP)}
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                network,
                (clips,),
                dynamo=True,
                dynamic_shapes=(dynamic,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as error:  # PyTorch raises errors of many classes here
            cause = " ".join(str(error.__cause__ or error).split())
            raise UserError(f"this network cannot be exported to ONNX: {cause[:300]}") from error
        finally:
            log.setLevel(level)
        assert program is not None
        program.model.metadata_props[KEY] = metadata
        program.save(str(path))


@torch.inference_mode()
def largest_error(network: Network, path: Path, *, size: int, any_size: bool = False) -> float:
    """Return the largest error of an ONNX file's logits for random clips, relative to the largest logit."""
    session, generator = open_session(path), torch.Generator().manual_seed(0)
    sizes = [(size, size)] * len(BATCHES)
    if any_size:
        sizes = [(size, size), (size + STEP, size), (size, size + 2 * STEP)]
    worst = 0.0
    for batch, (height, width) in zip(BATCHES, sizes, strict=True):
        clips = torch.randn(batch, network.frames, network.channels, height, width, generator=generator)
        wanted = network(clips)
        (found,) = session.run([OUTPUT], {INPUT: clips.numpy()})
        error = (torch.from_numpy(found) - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12)
        worst = max(worst, float(error))
    return worst
