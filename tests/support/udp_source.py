"""A live source for tests and benchmarks: a video sent as MPEG-TS over UDP at its own pace.

python -m tests.support.udp_source VIDEO PORT SECONDS [FPS]
"""

import sys
import time
from fractions import Fraction

import av


def send(path: str, port: int, *, seconds: float, fps: int = 25, size: tuple[int, int] = (96, 72)) -> None:
    """Send the frames of a video again and again, in real time."""
    width, height = size
    with av.open(path) as video:
        pictures = [frame.reformat(width, height, "yuv420p") for frame in video.decode(video=0)]
    address = f"udp://127.0.0.1:{port}?pkt_size=1316"
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(fps), "threads": "1"}
    with av.open(address, "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        start = time.monotonic()
        for number in range(round(seconds * fps)):
            picture = pictures[number % len(pictures)]
            picture.pts, picture.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(picture))
            time.sleep(max(0.0, start + (number + 1) / fps - time.monotonic()))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    send(sys.argv[1], int(sys.argv[2]), seconds=float(sys.argv[3]), fps=int((sys.argv[4:] or ["25"])[0]))
