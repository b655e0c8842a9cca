"""Set-up of the data loader's worker processes: garbage collection and signals."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Disable garbage collection in this context, also in workers that are forked in it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def init_worker(_: int) -> None:
    """Set up garbage collection and signal handling in a new worker process."""
    # Objects inherited from the main process may hold GPU resources, for example a captured CUDA graph.
    # A worker cannot use the GPU and would die on freeing GPU resources. So never free inherited objects.
    gc.freeze()
    gc.enable()
    _ignore_signals()


def _ignore_signals() -> None:
    """Protect the worker from signals that are meant for the main process."""
    if os.name == "posix":
        # torchrun and SLURM send SIGTERM to the whole process group, so move the worker to its own group.
        # Workers must survive SIGTERM: the main process needs another batch before it can save its state.
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the main process sends SIGTERM to end a worker
