"""Choice of the stream to read, in a file that has several video streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.container import InputContainer


def choose_stream(container: InputContainer) -> tuple[av.VideoStream | None, bool]:
    """Return the video stream that players show, and whether the file has other video streams.

    Cover pictures are ignored. If there are several streams, FFmpeg chooses one by the default flag, then by
    the number of frames and the bit rate. The choice is right only if the container was opened with probing.
    """
    videos = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if len(videos) < 2:
        return (videos[0] if videos else None), False
    best = container.streams.best("video")
    return next((stream for stream in videos if stream is best), videos[0]), True
