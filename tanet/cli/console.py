"""Terminal output of the commands: progress bars and tables. For single lines, see lines.py."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tanet.cli.lines import err, out, say, warn
from tanet.cli.progress import CountDisplay, Display, Status, download_status, duration
from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.evaluation.evaluate import VideosDone
from tanet.evaluation.report import Report
from tanet.inference.predict import Prediction
from tanet.recipes.recipe import Recipe
from tanet.runtime.events import Note, Progress
from tanet.training.events import BadStep, EpochResult, Event
from tanet.training.events import Progress as StepProgress
from tanet.training.plan import Plan
from tanet.training.plan_cost import smaller_setting
from tanet.training.time_left import TimeEstimator, TimeLeft

LONG = 600.0  # seconds of training from which a smaller setting is proposed


def progress_bar(what: str, *, total: int) -> CountDisplay:
    """Return the display of the progress of `total` items on standard error."""
    return CountDisplay(what, total=total, console=err)


class Waiting:
    """Context manager that shows the steps of work whose length is not known, on standard error.

    A terminal shows the current step and its time; otherwise, each step gets a line.
    """

    def __init__(self) -> None:
        # Exporters' output is discarded by replacing sys.stderr for a while, but the display goes on.
        console = Console(file=sys.__stderr__, highlight=False, emoji=False)
        columns = SpinnerColumn(), TextColumn("{task.description} …"), TimeElapsedColumn()
        self._bar = Bar(*columns, console=console, transient=True) if console.is_interactive else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: str) -> None:
        """Show the next step."""
        if not self._bar:
            err.print(f"{step} …", markup=False)
            return
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(escape(step), total=None)


class DownloadScreen(Display):
    """Context manager that shows the progress of a download, and notes, on standard error."""

    def __init__(self) -> None:
        super().__init__(err)

    def show_event(self, event: object) -> None:
        """Show an event that `tanet.load` reports."""
        if isinstance(event, Progress):
            self.show(download_status(event.done, event.total, event.what))
        elif isinstance(event, Note):
            with self.aside():
                warn(event.text)


class TrainingScreen:
    """Terminal display of a training run: its progress, and one line with the results of each epoch.

    The progress includes the time left of the epoch and of the run, the loss, the accuracy and the speed.

    Args:
        recipe: the experiment.
        console: console on standard error. Default: standard error.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self, recipe: Recipe, *, console: Console = err, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.recipe, self.epochs, self.plan = recipe, recipe.optim.epochs, None
        self.estimate = TimeEstimator(clock=clock)
        self.display = Display(console, clock=clock)
        self.at: StepProgress | None = None
        self.total_told = False

    def __enter__(self) -> Self:
        self.display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.display.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        """Show an event that the training function `train` reports, for example a warning."""
        left = self.estimate(event)
        if isinstance(event, Split):
            for warning in event.warnings:
                warn(warning)
        elif isinstance(event, Plan):
            with self.display.aside():
                self._start(event)
        elif isinstance(event, Note):
            warn(event.text)
        elif isinstance(event, BadVideo):
            warn(f"video skipped: {event.error}")
        elif isinstance(event, BadStep):
            warn(f"step skipped: {event}")
        elif isinstance(event, Progress):
            self.display.show(download_status(event.done, event.total, event.what))
        elif isinstance(event, StepProgress | VideosDone):
            self._show_progress(event, left)
        else:
            with self.display.aside():
                self._show_result(event)

    def _show_progress(self, event: StepProgress | VideosDone, left: TimeLeft | None) -> None:
        if isinstance(event, StepProgress):
            self.at, count = event, f"step {event.step}/{event.steps}"
        else:
            count = f"validation {event.done}/{event.total}"
        at = self.at
        if at is None:
            return
        if left:
            if not self.total_told:
                self._tell_total(left)
            count += f", {duration(left.epoch)} left of the epoch, {duration(left.run)} of the run"
        details = [f"loss {at.loss:.3f}", f"top-1 {at.top1:.1%}", f"lr {at.lr:.4g}", *_speed(at).split(", ")]
        if at.memory is not None:
            details.append(f"{at.memory / 2**30:.1f} GiB")
        done = ((at.epoch - 1) * at.steps + at.step) / (self.epochs * at.steps)
        self.display.show(Status(f"epoch {at.epoch}/{self.epochs}", done, count, details))

    def _tell_total(self, left: TimeLeft) -> None:
        """Print the time for the whole run once, and what a smaller setting would take on a CPU."""
        self.total_told = True
        line = f"about {duration(left.total)} for the whole run"
        if self.plan and self.plan.device == "cpu" and left.total > LONG:
            smaller = smaller_setting(self.recipe, classes=self.plan.classes)
            line += f" ({smaller})" if smaller else ""
        self.display.say(line)

    def _show_result(self, event: EpochResult) -> None:
        val = "" if event.val_top1 is None else f"  val top-1 {event.val_top1:.1%}"
        say(
            f"epoch {event.epoch:3}/{self.epochs}  lr {event.lr:.4g}  "
            f"loss {event.train_loss:.3f}  train top-1 {event.train_top1:.1%}{val}  "
            f"{_speed(event)}  {event.seconds:.0f} s"
        )

    def _start(self, plan: Plan) -> None:
        model, self.plan, self.epochs = self.recipe.model, plan, plan.epochs
        say(f"{model.title}, {model.frames} frames per clip")
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
