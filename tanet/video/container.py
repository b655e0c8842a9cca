"""The container and the content of a video file."""

import mmap
import os
from pathlib import Path


def container_of(source: Path | bytes) -> str | None:
    """Detect the container by the first bytes. Return FFmpeg's name for it, or None if it is unknown."""
    head = _head(source, 12)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return "avi"
    if head[4:8] == b"ftyp":
        return "mov,mp4,m4a,3gp,3g2,mj2"
    return "matroska,webm" if head[:4] == b"\x1aE\xdf\xa3" else None


def content_of(source: Path | bytes, *, kept: int) -> bytes | mmap.mmap:
    """Return the content of a file. A file of more than `kept` bytes is memory-mapped, not read."""
    if isinstance(source, bytes):
        return source
    with source.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= kept:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _head(source: Path | bytes, length: int) -> bytes:
    """Return the first bytes of a file."""
    if isinstance(source, bytes):
        return source[:length]
    with source.open("rb", buffering=0) as file:
        return file.read(length)
