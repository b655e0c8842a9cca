"""Lock of a folder, so that two processes do not write into it at the same time.

The operating system releases the lock when the process that holds it ends, even if the process is killed. If
a killed process has left a lock file behind, the next process takes over that file.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tanet.errors import UserError

NAME = ".lock"
PAUSE = 0.2  # seconds between two attempts of a process that waits
_held: set[Path] = set()  # lock files of this process: the operating system lets a process lock twice
_guard = threading.Lock()  # for `_held`


@contextmanager
def lock_folder(folder: Path, *, work: str, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a folder; the folder is created, and removed again if it is empty at the end.

    Args:
        folder: the folder.
        work: what the process that holds the lock does, for the message.
        on_wait: if another process holds the lock, wait for it, after one call of this function with a text
            that names the process. None raises UserError instead.

    Raises:
        UserError: another process holds the lock and `on_wait` is None, or the path is a file.
        OSError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; name a folder that does not exist yet")
    above = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    file = _open_locked(path, work, on_wait)
    try:
        file.truncate(0)
        file.write(f"{work} by process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is released
        with _guard:
            _held.discard(path.absolute())
            file.close()
        for created in above:
            try:
                created.rmdir()
            except OSError:
                break


def _open_locked(path: Path, work: str, on_wait: Callable[[str], None] | None) -> IO[bytes]:
    told = False
    while True:
        with _guard:
            found = _try_open(path, work)
        if isinstance(found, str):
            if on_wait is None:
                raise UserError(f"{path.parent}: in use ({found}); wait for it, or choose another folder")
            if not told:
                on_wait(found)
            told = True
            time.sleep(PAUSE)
        elif found:
            return found


def _try_open(path: Path, work: str) -> IO[bytes] | str | None:
    """Return the locked file, the name of the lock's holder, or None if the holder just removed the file."""
    # A process loses its lock when it closes any file object of the lock file, so look at `_held` first.
    own = path.absolute() in _held
    try:
        file = None if own else path.open("a+b", buffering=0)
    except FileNotFoundError:  # the holder has removed the empty folder
        path.parent.mkdir(parents=True, exist_ok=True)
        return None
    if file is None or not _try_lock(file):
        holder = path.read_text(errors="replace").strip() if file and path.exists() else ""
        if file:
            file.close()
        return holder or f"{work} by {'this' if own else 'another'} process"
    # The process that held the lock may have removed the file after it was opened here.
    if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
        _held.add(path.absolute())
        return file
    file.close()
    return None


if sys.platform == "win32":

    def _try_lock(file: IO[bytes]) -> bool:
        import msvcrt

        try:
            file.seek(2**30)  # Windows forbids reading locked bytes, so lock a byte far beyond the text
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:

    def _try_lock(file: IO[bytes]) -> bool:
        import errno
        import fcntl

        try:
            # Unlike flock, this lock is not inherited by forked workers, which may outlive this process.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks. On these file systems, continue without a lock.
            return error.errno not in (errno.EAGAIN, errno.EACCES)
        return True
