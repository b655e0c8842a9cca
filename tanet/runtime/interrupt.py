"""Handle Ctrl-C, SIGTERM, and readers that leave: stop after the current step (`StopRequest`), or at once."""

import os
import select
import signal
import sys
from types import FrameType, TracebackType
from typing import Self


class Interrupted(KeyboardInterrupt):
    """Error raised when work stops early on request. The message says where the work stopped."""


def exit_on_sigterm(message: str = "") -> None:
    """Make SIGTERM print a message and raise SystemExit, so that `finally` blocks run and workers end."""

    def stop(*_: object) -> None:
        # `timeout` sends SIGTERM twice: to the process, and to its group. Only the first one counts.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if message:
            sys.stderr.write(f"{message}\n")
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)


def reader_left() -> bool:
    """Return whether the program that reads standard output or error has ended, for example `head`.

    If it has ended, send all further output to /dev/null.
    """
    outputs = select.poll()
    for stream in (sys.stdout, sys.stderr):
        outputs.register(stream.fileno(), select.POLLOUT)
    left = [number for number, event in outputs.poll(0) if event & (select.POLLERR | select.POLLHUP)]
    for number in left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return bool(left)


class StopRequest:
    """Context manager that sets `asked` when SIGINT or SIGTERM arrives.

    When it is set, another SIGINT raises KeyboardInterrupt at once; another SIGTERM has no effect. Only the
    main thread can handle signals. In any other thread, this context manager does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
