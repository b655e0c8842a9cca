"""Functions for files: write and hash files, name a file relative to a folder, list package versions."""

import errno
import hashlib
import json
import os
import tempfile
from importlib import metadata
from pathlib import Path

from tanet.errors import UserError

OPEN_FILES = tuple(map(Path, ("/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd")))
"""Names of the files that a process has open, and folders of such names."""


def versions() -> dict[str, str]:
    """Return the version of each package that affects results; "source" for a package not installed."""
    found = {}
    for name in ("tanet", "torch", "numpy", "av"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "source"
    return found


def name_below(path: str | Path, root: str | Path | None) -> str | None:
    """Return a path relative to a root, with forward slashes; None if the path is not below the root."""
    path = Path(path)
    if not root or path == Path(root) or not path.is_relative_to(root):
        return None
    return path.relative_to(root).as_posix()


def text_bytes(text: str) -> bytes:
    """Encode text as UTF-8; bytes of file names that are not UTF-8 stay as they are on the disk."""
    return text.encode("utf-8", "surrogateescape")


def json_bytes(values: object, *, indent: int | None = None, compact: bool = False) -> bytes:
    """Encode values as JSON in UTF-8; bytes of file names that are not UTF-8 become escapes of JSON."""
    separators = (",", ":") if compact else None
    text = json.dumps(values, ensure_ascii=False, indent=indent, separators=separators)
    return text.encode("utf-8", "backslashreplace")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file atomically: even after a power failure, the file is either complete or unchanged.

    A symbolic link is followed. A device or pipe, such as /dev/stdout, is written to directly.

    Raises:
        OSError: the disk is full, the folder cannot be written, or the path is a folder. The error names the
            file or its folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    target = _target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if _is_device_or_pipe(path):
            with path.open("ab") as file:
                file.write(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_outputs(*paths: Path | None) -> None:
    """Check, before long work, that `write_atomically` can write files. Create their folders if necessary.

    Args:
        paths: files to write; None is skipped.

    Raises:
        UserError: a path is a folder, or a file, device or pipe that cannot be written, or its folder cannot
            be created or written.
    """
    for path in filter(None, paths):
        if path.is_dir():
            raise UserError(f"{path} is a folder; give the name of a file")
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"{path}: cannot be written; choose another file")
        if not _is_device_or_pipe(path):
            make_folder(_target(path).parent)


def make_folder(folder: Path) -> None:
    """Create a folder if necessary, and check that files can be written into it.

    Raises:
        UserError: the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder}: not a folder") from error
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error


def _target(path: Path) -> Path:
    """Return the file that a path names; for a symbolic link, the file that it leads to."""
    return path.resolve() if path.is_symlink() else path


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_device_or_pipe(path: Path) -> bool:
    """Return whether a path must not be replaced: a device, a pipe, or an open file such as /dev/stdout."""
    path = path.absolute()
    if path in OPEN_FILES or path.parent in OPEN_FILES:
        return True
    return path.exists() and not (path.is_file() or path.is_dir())


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a new file in it survives a power failure. Do nothing on Windows."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL comes from network mounts that cannot sync folders
                raise
        finally:
            os.close(number)
