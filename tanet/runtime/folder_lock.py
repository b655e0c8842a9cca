"""Lock of a folder, so that two processes do not write into it at the same time.

The operating system releases the lock when the process that holds it ends, even if the process is killed. If
a killed process has left a lock file behind, the next process takes over that file.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tanet.errors import UserError

NAME = ".lock"
_held: set[Path] = set()  # lock files of this process: the operating system lets a process lock twice


@contextmanager
def lock_folder(folder: Path, *, work: str) -> Iterator[None]:
    """Hold the lock of a folder; the folder is created, and removed again if it is empty at the end.

    Args:
        folder: the folder.
        work: what the process that holds the lock does, for the message.

    Raises:
        UserError: another process holds the lock, or the path is a file.
        OSError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; name a folder that does not exist yet")
    above = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    file = _open_locked(path, work)
    try:
        file.truncate(0)
        file.write(f"{work} by process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is released
        _held.discard(path.absolute())
        file.close()
        for created in above:
            try:
                created.rmdir()
            except OSError:
                break


def _open_locked(path: Path, work: str) -> IO[bytes]:
    while True:
        # A process loses its lock when it closes any file object of the lock file, so look at `_held` first.
        own = path.absolute() in _held
        file = None if own else path.open("a+b", buffering=0)
        if file is None or not _try_lock(file):
            holder = path.read_text(errors="replace").strip() if file else ""
            if file:
                file.close()
            holder = holder or f"{work} by {'this' if own else 'another'} process"
            raise UserError(f"{path.parent}: in use ({holder}); wait for it, or choose another folder")
        # The process that held the lock may have removed the file after it was opened here.
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            _held.add(path.absolute())
            return file
        file.close()


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
