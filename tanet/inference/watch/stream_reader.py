"""Thread that drains a stream into a ring of frames, so that no frame waits in a queue.

If nothing drained a stream, its frames would wait in buffers of FFmpeg and of the operating system, and the
answers would lag behind more and more. If decoding is slower than the stream, all pictures but key pictures
are skipped until the reader has caught up. A stream that ends or fails is opened again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import TYPE_CHECKING

import torch

from tanet.data.views import cut_views
from tanet.errors import UserError
from tanet.inference.watch.frame_ring import Frame, FrameRing, Window
from tanet.inference.watch.live_source import LiveSource
from tanet.recipes.recipe import Eval
from tanet.video.frame_to_rgb import to_rgb, upright_size
from tanet.video.stream_choice import choose_stream

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

OPENING, SILENCE = 5.0, 3.0
"""Seconds after which a source that does not open, or sends nothing, counts as failed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0
"""Seconds before the first and before later attempts to open a source again."""
BEHIND, CAUGHT_UP = 1.0, 0.2
"""Lag in seconds from which pictures are skipped, and at which no more are."""
JUMP = 10.0
"""No window contains a gap of more seconds."""


def _hopeless() -> tuple[type[Exception], ...]:
    """Return the errors of sources that cannot work later, either."""
    from av import error

    return error.ProtocolNotFoundError, error.ArgumentError, error.HTTPClientError


class StreamReader:
    """Reader of a source.

    Args:
        source: the source.
        ring: ring for the frames.
        eval: the reader uses `crops`, `resize`, `resize_width`, `size` and `style`.
        note: receives what happens to the source, one line each.
    """

    def __init__(
        self, source: LiveSource, ring: FrameRing, *, eval: Eval, note: Callable[[str], None] = lambda _: None
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self.source, self.ring, self.eval, self.note = source, ring, eval, note
        self.frames = 0
        """Frames that were decoded."""
        self.lag = 0.0
        """How much later the newest frame came than the quickest one, in seconds."""
        self.error: UserError | None = None
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._stopped = Event()
        self._first: float | None = None  # time of the first frame, by the stream's clock
        self._shift = 0.0  # added to the stream's times, so that they go on after it has begun anew
        self._last = self._arrival = self._period = 0.0
        self._ends: list[Window] = []
        self._quickest = float("inf")
        self._thread = Thread(target=self._run, name="tanet-watch", daemon=True)

    @property
    def time(self) -> float:
        """When the newest frame is displayed, in seconds after the first frame."""
        return self._last

    def start(self) -> None:
        """Start to read, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to read, and wait for the end of the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(OPENING + 1)

    def _run(self) -> None:
        try:
            for frame in self.read():
                self.ring.add(frame)
        except UserError as error:
            self.error = error
        finally:
            self.ring.close()

    def read(self) -> Iterator[Frame]:
        """Yield the frames that the ring wants. A file ends; a stream is opened again and again.

        Raises:
            UserError: a file cannot be read, or a stream cannot be opened the first time.
        """
        from av.error import FFmpegError

        pause, opened = FIRST_PAUSE, False
        while not self._stopped.is_set():
            try:
                with self._open() as container:
                    for frame in self._frames(container):
                        if opened and pause != FIRST_PAUSE:
                            self.note(f"{self.source.name}: is back")
                        pause, opened = FIRST_PAUSE, True
                        yield frame
                cause = "ended"
            except (FFmpegError, OSError) as error:
                cause = str(getattr(error, "strerror", "") or error)
                if not self.frames and isinstance(error, _hopeless()):
                    raise UserError(f"{self.source.name}: cannot be opened: {cause}") from error
                if "Immediate exit" in cause:  # PyAV's way to tell that the time is over
                    cause = f"nothing came for {SILENCE:g} s"
            if not self.source.live:
                if not self.frames:
                    raise UserError(f"{self.source.name}: cannot be read: {cause}")
                return
            if not opened and pause == FIRST_PAUSE:
                self.note(f"{self.source.name}: {cause}; trying again")
            elif pause == FIRST_PAUSE:
                self.note(f"{self.source.name}: {cause}; opening it again")
            self._stopped.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _open(self) -> InputContainer:
        import av

        return av.open(
            self.source.place,
            format=self.source.format,
            options=dict(self.source.options),
            timeout=(OPENING, SILENCE) if self.source.live else None,
        )

    def _frames(self, container: InputContainer) -> Iterator[Frame]:
        from av.error import EOFError as EndOfFile
        from av.error import InvalidDataError

        stream, _ = choose_stream(container)
        if stream is None:
            raise UserError(f"{self.source.name}: no video stream")
        stream.codec_context.thread_count = 1
        if self.frames:
            # The time goes on by the clock while a stream is away.
            self._first, self._shift = None, self._last + time.monotonic() - self._arrival
            self._end_piece()
        for packet in container.demux(stream):
            if self._stopped.is_set():
                return
            try:
                decoded = packet.decode()
            except InvalidDataError:
                continue  # a damaged packet does not end the stream
            except EndOfFile:
                return
            for picture in decoded:
                if frame := self._frame(picture):  # type: ignore[arg-type]
                    yield frame
            if self.source.live:
                # Behind a slow decoder, frames would be older and older.
                late = self.lag > (BEHIND if stream.codec_context.skip_frame == "DEFAULT" else CAUGHT_UP)
                stream.codec_context.skip_frame = "NONKEY" if late else "DEFAULT"

    def take_ends(self) -> Iterator[Window]:
        """Yield the windows at the ends of pieces of a file, before gaps and restarts."""
        while self._ends:
            yield self._ends.pop(0)

    def _end_piece(self) -> None:
        """Begin a window of its own: what comes next does not follow what came."""
        if not self.source.live and (window := self.ring.newest()):
            self._ends.append(window)
        self._quickest = float("inf")
        self.ring.clear()

    def _frame(self, picture: av.VideoFrame) -> Frame | None:
        """Return a decoded picture as a frame, or None if the ring does not need it."""
        arrival = time.monotonic()
        at = picture.time if picture.time is not None else arrival
        if self._first is None:
            self._first = at
        shown = at - self._first + self._shift
        if shown < self._last - 1.0:  # the stream's clock has begun anew
            self._first, self._shift = at, self._last + self._period
            shown = self._shift
            self._end_piece()
        elif shown > self._last + JUMP and self.frames:
            self._end_piece()
        elif shown > self._last:
            self._period = shown - self._last
        self._last, self._arrival = max(shown, self._last), arrival
        number, self.frames = self.frames, self.frames + 1
        delay = arrival - shown
        self._quickest = min(self._quickest, delay)
        self.lag = delay - self._quickest
        if not self.ring.wants(shown):
            return None
        self._size = self._size or upright_size(picture)
        pixels = to_rgb(picture, reformatter=self._reformatter, size=self._size)
        clip = torch.from_numpy(pixels.copy())[None, None]  # [1, 1, H, W, C]
        return Frame(number, shown, arrival, cut_views(clip, self.eval)[:, 0])
