"""Functions for files: write and hash files, name a file relative to a folder, list package versions."""

import errno
import hashlib
import json
import os
from importlib import metadata
from pathlib import Path


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
        OSError: the disk is full, or the folder cannot be written. The error names the file.
    """
    path = Path(path)
    target = path.resolve() if path.is_symlink() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if _is_device_or_pipe(path):
            with path.open("ab") as file:
                file.write(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


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
    """Return whether a path is a device, a pipe, or an open file such as /dev/stdout, not to be replaced."""
    path = path.absolute()
    if path in (Path("/dev/stdout"), Path("/dev/stderr")) or path.parent in (
        Path("/dev/fd"),
        Path("/proc/self/fd"),
    ):
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
