"""Progress on standard error: a bar on a terminal, otherwise one plain line a minute.

A bar appears after two seconds of work. Without a terminal, the first line appears after ten seconds. A
command that is done earlier shows nothing. Standard output stays free for results.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock, Timer
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

BAR_AFTER = 2.0  # seconds of work before a bar appears
FIRST_LINE, NEXT_LINE = 10.0, 60.0  # seconds before the first plain line, and between two lines
WINDOW, LEAST = 120.0, 3.0  # seconds of work that an estimate of the time left uses, at most and at least
WIDEST, NARROWEST = 40, 6  # columns of the bar itself


def duration(seconds: float) -> str:
    """Format a time to the precision of an estimate, for example "40 s", "4 min" or "1 h 20 min"."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


@dataclass(frozen=True)
class Status:
    """What a display shows."""

    what: str
    """Text before the bar."""
    done: float
    """Finished fraction of the work, from 0 to 1."""
    count: str
    """Text after the bar: the count and the time left. It is never dropped."""
    details: Sequence[str] = ()
    """Further texts, the most important ones first. The terminal's width decides how many are shown."""

    def line(self) -> str:
        """Return the status as a plain line."""
        return ", ".join([f"{self.what}: {self.count}", *self.details])

    def rows(self, width: int, *, dash: str = "━") -> list[Text]:
        """Return the status as rows of at most `width` columns: a bar, and below it the details that fit."""
        count = self.count if len(self.count) <= width else f"{self.count[: width - 1]}…"
        room = width - len(count) - 1
        what = self.what
        while what and cell_len(what) > room:
            what = f"…{what[2:]}" if len(what) > 2 else ""  # the end of a path tells more than its start
        row = Text(f"{what} " if what else "")
        bar = min(WIDEST, room - row.cell_len)
        if bar >= NARROWEST:
            done = min(bar, int(bar * self.done))
            row.append(dash * done, "bar.complete").append(dash * (bar - done), "bar.back").append(" ")
        row.append(count)
        details = ""
        for text in self.details:
            longer = f"{details}  {text}" if details else text
            if len(longer) > width:
                break
            details = longer
        return [row, Text(details)] if details else [row]


class Display:
    """Context manager that shows the status of some work on standard error.

    Args:
        console: console on standard error.
        clock: function that returns the time in seconds.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.status: Status | None = None
        self.next_line = clock() + FIRST_LINE
        self.live: Live | None = None  # the bar, while it is shown
        self.timer: Timer | None = None
        self.lock = RLock()  # the timer's thread starts the bar

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self.timer = Timer(BAR_AFTER, self._show_bar)
            self.timer.daemon = True
            self.timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer.join()
        self._hide_bar()

    def show(self, status: Status) -> None:
        """Show a status. Without a terminal, print it if the last line is a minute old."""
        self.status = status
        if not self.console.is_interactive and self.clock() >= self.next_line:
            self.say(status.line())

    def say(self, line: str) -> None:
        """Print a line on standard error, above the bar. The next plain line follows a minute later."""
        self.next_line = self.clock() + NEXT_LINE
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while results are printed on standard output, which may be the same terminal."""
        with self.lock:
            shown = self._hide_bar()
            try:
                yield
            finally:
                if shown:
                    self._show_bar()

    def _show_bar(self) -> None:
        with self.lock:
            # A `Live` that is started again would move the cursor up, over lines that were printed meanwhile.
            self.live = Live(
                get_renderable=self._render, console=self.console, transient=True, redirect_stdout=False
            )
            self.live.start(refresh=True)

    def _hide_bar(self) -> bool:
        """Erase the bar, and return whether it was shown."""
        live, self.live = self.live, None
        if live:
            live.stop()
        return live is not None

    def _render(self) -> Text:
        if self.status is None:
            return Text("")
        dash = "-" if self.console.options.ascii_only else "━"
        return Text("\n").join(self.status.rows(self.console.width, dash=dash))


def download_status(done: int, total: int, what: str) -> Status:
    """Return the status of a download.

    Args:
        done: bytes received.
        total: bytes of the whole file; 0 if unknown.
        what: name of the file.
    """
    received = f"{done / 1e6:.0f}"
    count = f"{received}/{total / 1e6:.0f} MB" if total else f"{received} MB"
    return Status(f"downloading {what}", done / total if total else 0, count)


class CountDisplay(Display):
    """Display for work on a number of items, with the time left.

    Args:
        what: the work, for example "testing".
        total: number of items.
        console: console on standard error.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self, what: str, *, total: int, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(console, clock=clock)
        self.what, self.total, self.done = what, total, 0
        self.reports: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._update("")

    def update(self, done: int, *, note: str = "") -> None:
        """Show that `done` items are finished."""
        self.done = done
        now = self.clock()
        self.reports.append((now, done))
        while now - self.reports[0][0] > WINDOW and len(self.reports) > 2:
            self.reports.popleft()
        self._update(note)

    def advance(self, *, note: str = "") -> None:
        """Show that one more item is finished."""
        self.update(self.done + 1, note=note)

    def _update(self, note: str) -> None:
        (begin, first), (end, last) = self.reports[0], self.reports[-1]
        left = ""
        if last > first and end - begin >= LEAST and last < self.total:
            left = f", {duration((end - begin) / (last - first) * (self.total - last))} left"
        part = self.done / max(1, self.total)
        self.show(Status(self.what, part, f"{self.done}/{self.total}{left}", (note,) if note else ()))
