"""Terminal output of the commands: progress bars, lines and tables.

Results go to standard output. Progress bars and warnings go to standard error, so that a pipe receives only
the results.
"""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.evaluation.report import Report
from tanet.inference.predict import Prediction
from tanet.recipes.recipe import Recipe
from tanet.runtime.events import Note
from tanet.training.events import BadStep, EpochResult, Event
from tanet.training.events import Progress as StepProgress
from tanet.training.plan import Plan

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line unchanged. Square brackets in the line are not markup for the library rich."""
    out.print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print a note on standard error."""
    err.print(f"[yellow]note:[/] {escape(line)}")


def progress_bar() -> Progress:
    """Return a progress bar on standard error. Each task needs a field `note`, the text after the bar."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        transient=True,
    )


class TrainingScreen:
    """Terminal display of a training run: a progress bar, and one line with the results of each epoch.

    The bar shows the loss, accuracy, learning rate, speed and time left.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.model, self.epochs, self.bar = recipe.model, recipe.optim.epochs, progress_bar()
        self.task = self.bar.add_task("training", total=None, note="")
        self.at_work = False

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def show(self, event: Event) -> None:
        """Show an event that the training function `train` reports, for example a warning."""
        if isinstance(event, Split):
            for warning in event.warnings:
                warn(warning)
        elif isinstance(event, Plan):
            self._start(event)
        elif isinstance(event, Note):
            warn(event.text)
        elif isinstance(event, BadVideo):
            warn(f"video skipped: {event.error}")
        elif isinstance(event, BadStep):
            warn(f"step skipped: {event}")
        elif isinstance(event, StepProgress):
            done = (event.epoch - 1) * event.steps + event.step
            note = f"loss {event.loss:.3f}  top-1 {event.top1:.1%}  lr {event.lr:.4g}  {_speed(event)}"
            if event.memory is not None:
                note += f"  {event.memory / 2**30:.1f} GiB"
            total = self.epochs * event.steps
            # Start the bar at the steps done before a resume. Then only new steps count in the time left.
            if not self.at_work:
                self.bar.reset(self.task, completed=done, total=total)
            self.at_work = True
            self.bar.update(self.task, completed=done, total=total, note=note)
        else:
            val = "" if event.val_top1 is None else f"  val top-1 {event.val_top1:.1%}"
            say(
                f"epoch {event.epoch:3}/{self.epochs}  lr {event.lr:.4g}  "
                f"loss {event.train_loss:.3f}  train top-1 {event.train_top1:.1%}{val}  "
                f"{_speed(event)}  {event.seconds:.0f} s"
            )

    def _start(self, plan: Plan) -> None:
        model, self.epochs = self.model, plan.epochs
        say(f"{model.backbone} with temporal module {model.temporal}, {model.frames} frames per clip")
        for line in plan.lines:
            say(line)
        for warning in plan.warnings:
            warn(warning)


def _speed(event: StepProgress | EpochResult) -> str:
    """Format the number of clips per second and the fraction of time spent waiting for data."""
    return f"{event.clips_per_second:.1f} clips/s, {event.wait:.0%} waiting for data"


def show_answer(answer: Prediction) -> None:
    """Print the prediction for one video as one line."""
    rest = escape(", ".join(f"{label} {score:.0%}" for label, score in answer.top5[1:3]))
    note = f"  [yellow]{answer.note}[/]" if answer.note else ""
    video, label = escape(answer.video), escape(answer.label)
    out.print(f"{video}  [bold]{label}[/] {answer.score:.1%}  [dim]({rest})[/]{note}", soft_wrap=True)


def show_accuracy(report: Report, *, views: str) -> None:
    """Print the number of views, the accuracy per class, the overall accuracies and the skipped videos."""
    for error in report.bad.values():
        warn(f"video skipped: {error}")
    accuracy = report.accuracy
    more = f" ({len(report.bad)} more could not be read)" if report.bad else ""
    say(f"{views} views of {len(report.samples)} videos{more}")
    table = Table("class", "videos", "top-1")
    counts = report.labels.bincount(minlength=len(report.classes)).tolist()
    for name, count, part in zip(report.classes, counts, accuracy.per_class, strict=True):
        if part is not None:
            table.add_row(escape(name), str(count), f"{part:.1%}")
    out.print(table)
    top1, top5 = f"top-1 [bold]{accuracy.top1:.2%}[/]", f"top-5 {accuracy.top5:.2%}"
    out.print(f"{top1}   {top5}   mean class {accuracy.mean_class:.2%}")


def show_mistakes(report: Report, *, count: int) -> None:
    """Print the pairs of classes confused most often, and the wrong answers with the highest scores."""
    wrong = report.confusion.fill_diagonal_(0)
    totals = report.labels.bincount(minlength=len(wrong)).tolist()
    pairs = wrong.flatten().topk(min(count, wrong.numel()))
    found = [pair for pair in zip(pairs.values.tolist(), pairs.indices.tolist(), strict=True) if pair[0]]
    if found:
        say("most frequent confusions:")
    for times, place in found:
        label, answer = divmod(place, len(wrong))
        say(f"  {report.classes[label]} classified as {report.classes[answer]}: {times} of {totals[label]}")
    worst = report.worst(count)
    if worst:
        say("wrong answers with the highest scores:")
    for answer in worst:
        say(f"  {answer.video}: {answer.label} classified as {answer.answer} ({answer.score:.1%})")
