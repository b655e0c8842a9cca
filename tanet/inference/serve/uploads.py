"""Videos that clients send: files with names of ours, in a folder that is emptied, with limits.

The body of a request is the video, or a form with a field `file`. Bytes and time are counted while it streams
in. Before a video is decoded, FFmpeg opens it with a list of containers that are one file by themselves.
Playlists (HLS, DASH, concat) are not on the list: they name other files and addresses, which FFmpeg would
read.
"""

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import python_multipart
from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tanet.inference.serve.limits import MEGABYTE, Limits
from tanet.video import Video, VideoError, open_video
from tanet.video.base import translate_errors
from tanet.video.excerpt import length_of

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    *("avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif", "mxf", "wtv", "nut", "ivf", "obu"),
    *("h264", "hevc", "m4v", "rm", "dv", "yuv4mpegpipe", "amv", "apng", "webp_pipe"),
)
"""FFmpeg's names of containers that name no other file."""


class Uploads:
    """The folder of uploads. `close` removes it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = Path(tempfile.mkdtemp(prefix="tanet-serve-"))

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Path]:
        """Write the video of a request to a file, which is removed at the end.

        Raises:
            HTTPException: 413 too large, 408 too slow, 400 broken off or no video in the form.
        """
        stated = request.headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated) > self.limits.megabytes * MEGABYTE:
            raise self._too_large()
        # The name of the file never comes from the client.
        path = self.folder / f"{secrets.token_hex(8)}.upload"
        try:
            with path.open("xb") as file:
                await self._write(request, file)
            if not path.stat().st_size:
                raise HTTPException(400, "no video: send it as the body, or as the field `file` of a form")
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _write(self, request: Request, file: IO[bytes]) -> None:
        kind = request.headers.get("content-type", "")
        sink = _FormField(file) if kind.lower().startswith("multipart/form-data") else None
        try:
            parser = sink.parser(kind) if sink else None
        except FormParserError as error:
            raise HTTPException(400, f"not a form: {error}") from error
        received, deadline = 0, time.monotonic() + self.limits.upload_seconds
        chunks = request.stream().__aiter__()
        while True:
            left = deadline - time.monotonic()
            try:
                chunk = await asyncio.wait_for(anext(chunks), max(0.0, min(left, self.limits.idle_seconds)))
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise HTTPException(408, "the video came too slowly") from error
            except ClientDisconnect as error:
                raise HTTPException(400, "the upload was broken off") from error
            received += len(chunk)
            if received > self.limits.megabytes * MEGABYTE:
                raise self._too_large()
            try:
                if parser:
                    await asyncio.to_thread(parser.write, chunk)
                else:
                    await asyncio.to_thread(file.write, chunk)
            except FormParserError as error:
                raise HTTPException(400, f"not a form: {error}") from error
            except OSError as error:
                raise HTTPException(503, "no space left on the disk", {"Retry-After": "60"}) from error

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self.limits.megabytes:g} MB")


class _FormField:
    """Receiver of the first field `file` of a form. Other fields are skipped."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self._wanted, self._done = file, False, False
        self._name, self._value = b"", b""

    def parser(self, kind: str) -> python_multipart.MultipartParser:
        """Return a parser that writes the field to the file.

        Raises:
            HTTPException: the form has no boundary.
        """
        boundary = python_multipart.multipart.parse_options_header(kind)[1].get(b"boundary")
        if not boundary:
            raise HTTPException(400, "a form without a boundary")
        return python_multipart.MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    def _begin(self) -> None:
        self._wanted = False

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition" and not self._done:
            self._wanted = (
                python_multipart.multipart.parse_options_header(self._value)[1].get(b"name") == b"file"
            )
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self.file.write(data[start:end])

    def _end(self) -> None:
        self._done = self._done or self._wanted
        self._wanted = False


def open_upload(path: Path, limits: Limits) -> Video:
    """Open an uploaded video. Its length and size are checked before a frame is decoded.

    Raises:
        VideoError: it is no video, or too long, or its frames are too large.
    """
    import av

    with (
        translate_errors(path),
        av.open(str(path), options={"format_whitelist": ",".join(CONTAINERS)}) as file,
    ):
        sizes = [(stream.height, stream.width) for stream in file.streams.video]
    if not sizes:
        raise VideoError(path, "no video stream")
    if problems := [problem for h, w in sizes if (problem := limits.problem(height=h, width=w))]:
        raise VideoError(path, problems[0])
    video = open_video(path, name=Path("the video"), keep_packets=False)
    try:
        if length_of(video) > limits.seconds:
            raise VideoError(path, f"videos of more than {limits.seconds:g} s are not accepted")
    except VideoError:
        video.close()
        raise
    return video
