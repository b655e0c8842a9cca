"""Download of one file: resumable, checked, never half-written under its final name.

The content goes to FILE.part. A cut connection is resumed at once, and an interrupted download by the next
call: the request asks for the remaining bytes (Range) of the same version of the file (If-Range with its
ETag, which FILE.part.json keeps). A server without ranges sends everything again. The complete file is
checked, synced to disk and renamed.
"""

import errno
import http.client
import json
import os
import re
import shutil
import ssl
import urllib.error
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tanet.checkpoints.pretrained.open_url import (
    RequestFailed,
    offline_variable,
    open_url,
    request_failed,
    try_again,
    without_password,
)
from tanet.errors import UserError
from tanet.runtime.events import Note, OnEvent, Progress, ignore
from tanet.runtime.files import json_bytes, sha256_of, sync_folder

CHUNK = 2**20
SPARE = 2**24
"""Bytes of disk space that stay free."""


class NoAccess(UserError):
    """The server cannot be reached, or does not give the file."""


@dataclass(frozen=True)
class _Part:
    """An unfinished download."""

    path: Path
    url: str

    @property
    def note(self) -> Path:
        """The file that says which version of the file the bytes are from."""
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        """Return the number of bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str:
        """Return the ETag or the date of the file that the bytes are from; "" if it is unknown."""
        try:
            note = json.loads(self.note.read_bytes())
            return str(note["version"]) if note["url"] == without_password(self.url) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, headers: Any) -> None:
        """Delete the bytes, and write down the version of the file that is received now."""
        self.remove()
        etag = headers.get("ETag", "")
        version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
        self.note.write_bytes(json_bytes({"url": without_password(self.url), "version": version}))

    def remove(self) -> None:
        """Delete the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    on_event: OnEvent = ignore,
    context: ssl.SSLContext | None = None,
) -> None:
    """Download a file. The caller holds a lock, so that no other process writes the same file.

    Args:
        url: address; http, https or file.
        path: file to write. The file exists only when its content is complete and has the right hash.
        sha256: the hash or its first digits. "" means that the hash is unknown.
        on_event: receives `Progress` and `Note`.
        context: certificates to trust. None means those of the system.

    Raises:
        NoAccess: no request is allowed, or the server cannot be reached, or it refuses. The message has the
            address, the cause, and the path where the user can put the file.
        UserError: the hash is wrong.
        OSError: the disk has too little space, or the folder cannot be written.
    """
    shown = without_password(url)
    if (name := offline_variable()) and not url.startswith("file:"):
        raise NoAccess(f"{name} forbids requests: get {shown} another way, and put it at {path}")
    part = _Part(path.with_name(f"{path.name}.part"), url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        resumed = _receive_all(part, has_hash=bool(sha256), on_event=on_event, context=context)
        found = sha256_of(part.path) if sha256 else ""
        if resumed and not found.startswith(sha256):  # the first bytes may be from another version
            on_event(Note(f"{path.name}: the resumed download has a wrong hash; it is downloaded anew"))
            part.remove()
            _receive_all(part, has_hash=True, on_event=on_event, context=context)
            found = sha256_of(part.path)
    except RequestFailed as error:
        raise NoAccess(
            f"cannot download {shown} ({error}): get the file another way, and put it at {path}"
        ) from error
    if not found.startswith(sha256):
        part.remove()
        raise UserError(wrong_hash(shown, found=found, expected=sha256))
    part.path.replace(path)
    part.remove()
    sync_folder(path.parent)


def wrong_hash(name: str | Path, *, found: str, expected: str) -> str:
    """Return the message for a file with a wrong hash, which has been deleted."""
    return f"{name}: the sha256 is {found}, not {expected}: damaged or changed, so the file is deleted"


def _receive_all(part: _Part, *, has_hash: bool, on_event: OnEvent, context: ssl.SSLContext | None) -> bool:
    """Receive the rest of a file, with several attempts if the connection is cut.

    Returns:
        Whether the first bytes came from an earlier call.

    Raises:
        RequestFailed: an attempt failed for good, or several attempts in a row brought no byte.
    """
    resumed, failures = part.size() > 0, 0
    while True:
        before = part.size()
        try:
            kept = _receive(part, has_hash=has_hash, on_event=on_event, context=context)
            return resumed and kept
        except RequestFailed as error:
            failures = 1 if part.size() > before else failures + 1
            try_again(error, failures)


def _receive(part: _Part, *, has_hash: bool, on_event: OnEvent, context: ssl.SSLContext | None) -> bool:
    """Receive the rest of a file in one request; return whether earlier bytes were kept."""
    have, version = part.size(), part.version()
    headers: dict[str, str] = {}
    if have and (version or has_hash):
        headers = {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    try:
        response = open_url(part.url, headers, context=context)
    except RequestFailed as error:
        answer = error.__cause__
        if not (isinstance(answer, urllib.error.HTTPError) and answer.code == 416):
            raise
        if have and _total(answer.headers, 0) == have:  # all bytes are there
            return True
        part.remove()
        raise RequestFailed("the server cannot resume the download") from error
    with closing(response):
        _require_encrypted(part.url, response.url)
        start = _start(response.headers) if response.status == 206 else 0
        if start not in (0, have):
            part.remove()
            raise RequestFailed("the server sends another part of the file")
        if not start:
            part.begin(response.headers)
        total = _total(response.headers, start)
        _require_space(part.path, total - start)
        with part.path.open("ab") as file:
            _copy(response, file, name=part.path.stem, total=total, on_event=on_event)
    if total and part.size() > total:
        part.remove()
        raise RequestFailed("the server sends more than it announces")
    return start > 0


def _copy(response: Any, file: IO[bytes], *, name: str, total: int, on_event: OnEvent) -> None:
    """Append the body of a response to a file, and sync the file to disk.

    Raises:
        RequestFailed: the connection ended early.
        OSError: the disk is full.
    """
    done = file.tell()
    on_event(Progress(done, total, name))
    while True:
        try:
            chunk = response.read1(CHUNK) if hasattr(response, "read1") else response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise request_failed(error) from error
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        on_event(Progress(done, total, name))
    file.flush()
    os.fsync(file.fileno())
    if done < total:
        raise RequestFailed("the connection was cut")


def _start(headers: Any) -> int:
    """Return the place of the first byte in a partial answer; -1 if the server does not say."""
    match = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _total(headers: Any, start: int) -> int:
    """Return the size of the whole file; 0 if the server does not say."""
    if match := re.search(r"/(\d+)$", headers.get("Content-Range", "")):
        return int(match[1])
    length = headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else 0


def _require_encrypted(asked: str, answered: str) -> None:
    """Raise RequestFailed if an encrypted address leads to an unencrypted one."""
    if asked.startswith("https:") and not answered.startswith("https:"):
        raise RequestFailed(f"leads to {answered}, which is not encrypted", transient=False)


def _require_space(path: Path, size: int) -> None:
    """Raise OSError (no space) if a disk has no room for a number of bytes."""
    if size > 0 and size + SPARE > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
