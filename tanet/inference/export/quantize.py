"""Quantization to int8 for OpenVINO, calibrated and tested on labelled videos.

Weights and inputs of convolutions become integers of 8 bits. NNCF chooses their scales by running clips of
the training videos. Temporal modules stay in float32: they consist of products, sums and means of frames, and
rounding each of them cost four points of accuracy (LOG.md). int8 is faster only on a CPU with instructions
for it (VNNI, AMX).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.exported.formats import InputKind, import_runtime
from tanet.data.annotations import read_split
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample
from tanet.data.streams import open_sample
from tanet.data.views import read_views
from tanet.errors import UserError
from tanet.evaluation.evaluate import evaluate
from tanet.inference.export.export import Exported, Job, errors_as_user_errors, prepare, size_of, unfinished
from tanet.inference.export.writers import save_openvino, silence, to_openvino, trace
from tanet.recipes.recipe import Recipe
from tanet.video import VideoError

FLOAT = ("MatMul", "Multiply", "Add", "ReduceMean")
"""Types of OpenVINO's operations that are not quantized."""
CLIPS = 300
"""Number of clips from which the scales are chosen."""


@dataclass(frozen=True)
class ExportedInt8(Exported):
    """An int8 file with its accuracy. `error`: largest change of a video's score, relative to the largest."""

    videos: int
    accuracy: float
    """Top-1 accuracy of the file on the videos held out."""
    accuracy_float: float
    """Top-1 accuracy of the network in float32."""

    @property
    def summary(self) -> str:
        """What the test has found, for the user."""
        return (
            f"top-1 accuracy on {self.videos} videos {100 * self.accuracy:.1f} %, "
            f"in float32 {100 * self.accuracy_float:.1f} %"
        )


def export_int8(
    model: Checkpoint,
    path: str | Path,
    videos: str | Path,
    *,
    input: InputKind = "clips",
    size: int | None = None,
    any_size: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> ExportedInt8:
    """Write a network for OpenVINO in int8, and measure its accuracy.

    Args:
        model, path, size, any_size, on_step: as in `export`.
        videos: folder of labelled videos, as for training. Scales are chosen with up to CLIPS of its training
            videos, and its validation videos, or those that training would hold out, are tested. If it has
            only validation videos, half of them serve to choose the scales.
        input: only "clips".

    Raises:
        UserError: a package is missing, the network cannot be quantized, or the folder has no such videos.
    """
    path = Path(path)
    if input != "clips":
        raise UserError("int8 works with clips only: leave out --input frames")
    nncf = import_runtime("nncf", "openvino")
    job = prepare(model, "openvino", input=input, size=size, any_size=any_size)
    train, test = _samples(job.recipe, videos, model.classes)
    with unfinished(path) as draft:
        on_step(f"tracing {job.recipe.model.title}")
        program = trace(job.module, job.inputs)
        original = to_openvino(program, draft, job.inputs)
        on_step(f"calibrating with clips of {min(CLIPS, len(train))} videos")
        clips = list(_clips(train, job, model))
        if not clips:
            raise UserError(f"{videos}: none of the videos can be read")
        with errors_as_user_errors(path, "quantized"):
            with silence():
                quantized = nncf.quantize(
                    original, nncf.Dataset(clips), subset_size=len(clips), **_settings(nncf)
                )
            save_openvino(quantized, draft, job.metadata)
        on_step(f"testing on {len(test)} videos")
        written = checkpoints.load(draft)
        recipe = replace(job.recipe, data=replace(job.recipe.data, root=str(videos)))
        reports = [
            evaluate(network, test, classes=model.classes, recipe=recipe)
            for network in (written.network, model.network)
        ]
        ours, plain = (report.scores for report in reports)
        accuracies = [report.accuracy.top1 for report in reports]
        error = float((ours - plain).abs().max() / plain.abs().max())
        return ExportedInt8(path, size_of(draft), error, len(test), accuracies[0], accuracies[1])


def _samples(
    recipe: Recipe, videos: str | Path, classes: Sequence[str]
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return the videos for calibration and those to test on."""
    data = replace(recipe.data, root=str(videos), train="", val="", class_names="", quarantine="")
    split = read_split(data, classes=classes, seed=recipe.seed)
    train, test = split.train, split.val
    if not test:
        raise UserError(f"{videos}: no videos to test on; add a folder val/")
    if not train:  # only val/: one half calibrates, the other half is tested
        train, test = test[::2], test[1::2]
    return train, test


def _clips(samples: Sequence[Sample], job: Job, model: Checkpoint) -> Iterator[Any]:
    """Read one clip of each of at most CLIPS videos, evenly spread over the classes."""
    recipe, inputs = job.recipe, job.inputs
    eval = replace(recipe.eval, clips=1, crops=1)
    for number in torch.linspace(0, len(samples) - 1, min(CLIPS, len(samples))).round().long().tolist():
        flows = recipe.model.flows_per_frame
        with suppress(VideoError), open_sample(samples[number], data=recipe.data, flows=flows) as video:
            views = read_views(video, frames=inputs.frames, data=recipe.data, eval=eval, flows=flows)
            yield normalise(views, model.network.input_spec).numpy()


def _settings(nncf: Any) -> dict[str, Any]:
    """Return settings for NNCF that quantize convolutions and leave the temporal modules in float32."""
    return {
        # Scales from the smallest and largest value, not only from the largest magnitude.
        "preset": nncf.QuantizationPreset.MIXED,
        "ignored_scope": nncf.IgnoredScope(types=list(FLOAT), validate=False),
        # NNCF's smoothing of matrix products fails for activations of two dimensions.
        "advanced_parameters": nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1)
        ),
    }
