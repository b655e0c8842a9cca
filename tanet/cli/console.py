"""What the command shows while it works and when it is done: bars, lines and tables on a terminal.

Results go to standard output, progress and trouble to standard error, so that a pipe gets results alone.
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
    """A line as it is: what stands in it, a path say, is never taken for markup."""
    out.print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Something to know that stops nothing."""
    err.print(f"[yellow]note:[/] {escape(line)}")


def progress_bar() -> Progress:
    """A progress bar with room for a note."""
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
    """Shows a training: a bar with loss, accuracy, speed and time left, and a line an epoch."""

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
        """What `train` reports."""
        if isinstance(event, Split):
            for warning in event.warnings:
                warn(warning)
        elif isinstance(event, Plan):
            self._start(event)
        elif isinstance(event, Note):
            warn(event.text)
        elif isinstance(event, BadVideo):
            warn(f"left out: {event.error}")
        elif isinstance(event, BadStep):
            warn(f"no step made: {event}")
        elif isinstance(event, StepProgress):
            done = (event.epoch - 1) * event.steps + event.step
            note = f"loss {event.loss:.3f}  top-1 {event.top1:.1%}  lr {event.lr:.4g}  {_speed(event)}"
            if event.memory is not None:
                note += f"  {event.memory / 2**30:.1f} GiB"
            total = self.epochs * event.steps
            if not self.at_work:  # what a run did before it was stopped says nothing of the time left
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
        say(f"{model.backbone} with temporal module {model.temporal}, {model.frames} frames a clip")
        for line in plan.lines:
            say(line)
        for warning in plan.warnings:
            warn(warning)


def _speed(event: StepProgress | EpochResult) -> str:
    """Clips a second, and what part of the time there was nothing to compute on."""
    return f"{event.clips_per_second:.1f} clips/s, {event.wait:.0%} wait for data"


def show_answer(answer: Prediction) -> None:
    """One line for one video."""
    rest = escape(", ".join(f"{label} {score:.0%}" for label, score in answer.top5[1:3]))
    note = f"  [yellow]{answer.note}[/]" if answer.note else ""
    video, label = escape(answer.video), escape(answer.label)
    out.print(f"{video}  [bold]{label}[/] {answer.score:.1%}  [dim]({rest})[/]{note}", soft_wrap=True)


def show_accuracy(report: Report, *, views: str) -> None:
    """The views, a table of classes, the three accuracies, and the videos that do not count."""
    for error in report.bad.values():
        warn(f"left out: {error}")
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
    """The classes that are confused most often, and the wrong answers with the highest scores."""
    wrong = report.confusion.fill_diagonal_(0)
    totals = report.labels.bincount(minlength=len(wrong)).tolist()
    pairs = wrong.flatten().topk(min(count, wrong.numel()))
    found = [pair for pair in zip(pairs.values.tolist(), pairs.indices.tolist(), strict=True) if pair[0]]
    if found:
        say("confused most often:")
    for times, place in found:
        label, answer = divmod(place, len(wrong))
        say(f"  {report.classes[label]} taken for {report.classes[answer]}: {times} of {totals[label]}")
    worst = report.worst(count)
    if worst:
        say("wrong with the highest score:")
    for answer in worst:
        say(f"  {answer.video}: {answer.label} taken for {answer.answer} ({answer.score:.1%})")
