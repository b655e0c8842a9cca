"""The command `tanet test`, which measures the accuracy of checkpoints on labelled videos.

tanet test CHECKPOINT … --data.root videos      on one GPU or CPU
torchrun … -m tanet test …                      on several GPUs
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.common import Device, OptionalFile, find_checkpoint, parse
from tanet.cli.console import progress_bar, show_accuracy, show_mistakes
from tanet.cli.lines import say, warn
from tanet.data.annotations import read_test_samples
from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.evaluation import ensemble, evaluate, score_files
from tanet.evaluation.protocols import PROTOCOLS, find_protocol
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import ScoredModel, Scores
from tanet.recipes.recipe import Data, Eval
from tanet.runtime.distributed import ProcessGroup, is_main_process, join_process_group
from tanet.runtime.events import Note
from tanet.runtime.files import check_outputs, text_bytes, write_atomically

# A rank waits up to this many seconds for the slowest rank. If a rank fails, torchrun ends all the others.
PATIENCE = 24 * 3600.0


@dataclass(frozen=True)
class TestFlags:
    """Test a checkpoint, or an ensemble of several checkpoints, on labelled videos.

    The command prints the top-1, top-5 and mean-class accuracy.
    """

    models: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="CHECKPOINT|SCORES …", help_behavior_hint=""),
    ] = ()
    """Checkpoints, or score files written with --save-scores. The scores of several files are averaged."""
    protocol: Annotated[
        str, tyro.conf.arg(name="eval", metavar="{" + ",".join(PROTOCOLS) + "}", help_behavior_hint="")
    ] = ""
    """Test protocol of a paper. The protocol sets the frames and views. Default: the checkpoint's settings.
    Other flags override single values of the protocol, for example: --eval k400-10x3 --eval.clips 5."""
    weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar="WEIGHT …", help_behavior_hint="")] = ()
    """Weight of each model in the average. Only the ratios of the weights matter. Default: equal weights."""
    data: Data = Data()
    eval: Eval = Eval()
    worst: int = 5
    """Length of the two lists of mistakes: classes confused most often, and most confident wrong answers."""
    confusion: OptionalFile = None
    """CSV file to write the confusion matrix to. Rows are true classes, columns are predicted classes."""
    save_scores: OptionalFile = None
    """File to write the scores of all videos to. `tanet test` accepts this file in place of a checkpoint."""
    json: OptionalFile = None
    """JSON file that receives the accuracies and the answer for each video."""
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


@dataclass(frozen=True)
class _Model:
    """A checkpoint, and the videos that the checkpoint is tested on."""

    checkpoint: Checkpoint
    source: ScoredModel
    samples: tuple[Sample, ...]

    def scores(self, report: Report) -> Scores:
        root = score_files.relative_root(self.source.recipe.data)
        return Scores(self.source.checkpoint, report, root, (self.source,))

    def nothing(self) -> Scores:
        """Return scores of zero for all videos.

        The command uses these scores to check, before hours of testing, that the models can be averaged.
        """
        classes = self.checkpoint.classes
        return self.scores(Report(self.samples, classes, torch.zeros(len(self.samples), len(classes))))


def run(args: list[str]) -> int:
    """Run `tanet test CHECKPOINT …`. Under torchrun, each rank tests a share of the videos."""
    flags = parse(TestFlags(), args, prog="tanet test")
    with join_process_group(flags.device, timeout=PATIENCE) as (group, device):
        with group.errors_on_all_ranks():
            paths = [find_checkpoint(name) for name in flags.models]
            _check(flags, paths)
            parts = [
                score_files.load(path) if score_files.is_scores(path) else _model(path, args, device)
                for path in paths
            ]
            # Check now, not after hours of testing, that the models can be averaged.
            blank = [part.nothing() if isinstance(part, _Model) else part for part in parts]
            ensemble.average_models(blank, weights=flags.weights)
        tested = [_test(part, group) if isinstance(part, _Model) else part for part in parts]
    if group.is_main:
        _tell(ensemble.average_models(tested, weights=flags.weights), flags)
    return 0


def _tell(found: Scores, flags: TestFlags) -> None:
    report, views = found.report, [source.recipe.eval for source in found.sources]
    show_accuracy(report, views=" + ".join(f"{eval.clips} × {eval.crops}" for eval in views))
    show_mistakes(report, count=flags.worst)
    if flags.save_scores:
        score_files.save(flags.save_scores, found)
        say(f"scores: {flags.save_scores}")
    if flags.confusion:
        write_atomically(flags.confusion, _table(report))
        say(f"confusion: {flags.confusion}")
    if flags.json:
        models = [dataclasses.asdict(source) for source in found.sources]
        write_atomically(flags.json, json.dumps({**report.as_dict(), "models": models}, indent=2).encode())
        say(f"answers: {flags.json}")


def _check(flags: TestFlags, paths: Sequence[Path]) -> None:
    """Check the flags before any checkpoint or score file is loaded."""
    if not flags.models:
        raise UserError("no checkpoint given; usage: tanet test CHECKPOINT …")
    if flags.protocol:
        find_protocol(flags.protocol)
    if flags.worst < 0:
        raise UserError(f"--worst must be 0 or more, not {flags.worst}")
    ensemble.check_weights(flags.weights, parts=len(flags.models))
    outputs = (flags.save_scores, flags.confusion, flags.json)
    check_outputs(*outputs)
    for out in filter(None, outputs):
        if out.exists() and out.resolve() in {path.resolve() for path in paths}:
            raise UserError(f"{out} is an input file, and would be overwritten: choose another file")
    if all(score_files.is_scores(path) for path in paths) and (
        flags.protocol or (flags.data, flags.eval) != (Data(), Eval())
    ):
        raise UserError("saved scores cannot be changed: --eval and --data apply only to checkpoints")


def _model(path: Path, args: list[str], device: torch.device) -> _Model:
    trained = checkpoints.read_recipe(path)
    flags = parse(TestFlags(), args, prog="tanet test")
    tested = find_protocol(flags.protocol).apply(trained) if flags.protocol else trained
    # Parse the flags again, now with the checkpoint's values as defaults.
    flags = parse(TestFlags(data=tested.data, eval=tested.eval), args, prog="tanet test")
    if flags.data.sampling != trained.data.sampling:
        _note(Note(f"{path}: trained on {trained.data.sampling} clips, tested on {flags.data.sampling} ones"))
    model = checkpoints.load(path, device=device)
    # If training has held out videos of this folder for validation, test only on these videos.
    same = Path(flags.data.root).resolve() == Path(trained.data.root).resolve()
    samples = read_test_samples(
        flags.data, classes=model.classes, seed=trained.seed if same else None, on_event=_note
    )
    recipe = dataclasses.replace(trained, data=flags.data, eval=flags.eval)
    return _Model(model, score_files.describe_model(path, recipe=recipe), samples)


def _test(model: _Model, group: ProcessGroup) -> Scores:
    numbers = range(group.rank, len(model.samples), group.world_size)
    # Only rank 0 shows progress.
    bar = progress_bar(f"testing {model.source.checkpoint}", total=len(numbers)) if group.is_main else None
    with bar or nullcontext(), group.errors_on_all_ranks():

        def show(event: object) -> None:
            if isinstance(event, evaluate.VideosDone) and bar:
                bar.update(event.done)
            elif isinstance(event, Note):
                _note(event)

        share = evaluate.score_samples(
            model.checkpoint.network,
            model.samples,
            recipe=model.source.recipe,
            numbers=numbers,
            on_event=show,
        )
    shares = group.all_gather_objects(share)
    max_bad = model.source.recipe.data.max_bad
    report = evaluate.merge_scores(shares, model.samples, classes=model.checkpoint.classes, max_bad=max_bad)
    if odd := int(report.scores.isnan().any(1).sum()):
        raise UserError(f"{model.source.checkpoint}: scores of {odd} videos are not numbers (NaN)")
    return model.scores(report)


def _note(note: Note) -> None:
    """Print a note, but only on rank 0."""
    if is_main_process():
        warn(note.text)


def _table(report: Report) -> bytes:
    """Return the confusion matrix as CSV. Rows are true classes, columns are predicted classes."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["class", *report.classes])
    for name, row in zip(report.classes, report.confusion.tolist(), strict=True):
        table.writerow([name, *row])
    return text_bytes(text.getvalue())
