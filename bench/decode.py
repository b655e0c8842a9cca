"""How long it takes to open a video and decode the frames of one clip, on one core.

    python -m bench.decode                 writes results/decode.csv

`tanet` is open_video(path).read(indices). `seek` is what is usually written with PyAV: for each wanted frame
seek to the key picture before it, unless decoding on is enough, and decode until its time has come. It takes
the frame rate to be constant, so it reads no packets but those it decodes, and is wrong for some files;
`seek exact` reads the times from the packets first, as any reader must that is right for all. `sequential`
decodes from the start up to the last wanted frame. That all give the same frames is checked before anything
is timed. A ratio is p50 over that of `tanet`.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer

from bench.common import ROOT, commit, interleaved, machine, percentiles, versions, write_csv
from tanet.video import open_video

DATA = Path(os.environ.get("TANET_DATA", ROOT.parent / "shared" / "data"))
REAL = {
    "ucf101 avi 320x240 mpeg4": "decode/*/*.avi",
    "arrow6 mp4 172x128 h264": "arrow6/val/*/*.mp4",
    "kinetics mp4 340x256 h264": "clips/action/arm_wrestling.mp4",
}
REPEATS = 25
Reader = Callable[[Path, Sequence[int]], np.ndarray]


def ours(path: Path, indices: Sequence[int]) -> np.ndarray:
    with open_video(path) as video:
        return video.read(indices).numpy()


def sequential(path: Path, indices: Sequence[int]) -> np.ndarray:
    frames = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in indices:
                frames[number] = frame.to_ndarray(format="rgb24")
            if number == indices[-1]:
                break
    return np.stack([frames[number] for number in indices])


def seek(path: Path, indices: Sequence[int]) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate, base = stream.average_rate, stream.time_base
        assert rate is not None
        assert base is not None
        times = [round(number / (rate * base)) + (stream.start_time or 0) for number in indices]
        return frames_at(container, stream, times)


def seek_exact(path: Path, indices: Sequence[int]) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return frames_at(container, stream, [times[number] for number in indices])


def frames_at(container: InputContainer, stream: av.VideoStream, times: Sequence[int]) -> np.ndarray:
    stream.codec_context.thread_count = 1
    frames: list[np.ndarray] = []
    coming: Iterator[av.VideoFrame] = iter(())
    entry = -1
    for wanted in times:
        # The container's index goes by decoding times, which begin earlier than those of display.
        key = stream.index_entries.search_timestamp(wanted + stream.index_entries[0].timestamp)
        if key > entry:  # in the same group going on is cheaper than entering it again
            container.seek(wanted, stream=stream)
            coming, entry = container.decode(stream), key
        for frame in coming:
            if frame.pts is not None and frame.pts >= wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
                break
    return np.stack(frames)


READERS = {"tanet": ours, "seek": seek, "seek exact": seek_exact, "sequential": sequential}


def make_clip(path: Path, *, group: int) -> Path:
    """Ten seconds of moving texture, 340x256, h264 with B-frames."""
    y, x = np.mgrid[:256, :340]
    noise = np.random.default_rng(0).integers(0, 256, (512, 680), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        stream.codec_context.gop_size = group
        for number in range(250):
            wave = 60 * np.sin((x + 3 * number) / 17) + 60 * np.cos((y - 2 * number) / 23)
            texture = noise[number : number + 256, 2 * (number % 150) :][:, :340] // 6
            gray = (100 + wave + texture).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(
                np.stack([gray, gray[::-1], gray[:, ::-1]], -1), format="rgb24"
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clip_indices(frames: int) -> dict[str, list[int]]:
    """The two clips of eight frames that recipes ask for: spread evenly, and every eighth of 64."""
    start = (frames - 64) // 2
    return {
        "uniform": [int((part + 0.5) * frames / 8) for part in range(8)],
        "dense": [start + 8 * step for step in range(8)] if start >= 0 else [],
    }


def read_all(read: Reader, wanted: Mapping[Path, Sequence[int]]) -> None:
    for path, indices in wanted.items():
        read(path, indices)


def measure(name: str, paths: Sequence[Path]) -> Iterator[dict[str, object]]:
    for choice in ("uniform", "dense"):
        wanted = {}
        for path in paths:
            with open_video(path) as video:
                wanted[path] = clip_indices(video.info.frames)[choice]
        wanted = {path: indices for path, indices in wanted.items() if indices}
        for path, indices in wanted.items():
            for read in READERS.values():
                assert np.array_equal(read(path, indices), sequential(path, indices)), (read, path)
        readers = {name: partial(read_all, read, wanted) for name, read in READERS.items()}
        times = interleaved(readers, repeats=REPEATS)
        per_clip = {reader: [time / len(wanted) for time in times[reader]] for reader in READERS}
        base = percentiles(per_clip["tanet"])["p50"]
        for reader in READERS:
            p = percentiles(per_clip[reader])
            yield {
                "case": f"{name}, {choice}",
                "reader": reader,
                **{f"{key}_ms": f"{value:.2f}" for key, value in p.items()},
                "ratio": f"{p['p50'] / base:.2f}",
            }


def main() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    head = {"commit": commit(), "date": date.today().isoformat(), "machine": machine()}
    head["versions"] = versions("av", "torch", "numpy")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            f"generated mp4 340x256 h264, groups of {group}": [
                make_clip(Path(folder) / f"{group}.mp4", group=group)
            ]
            for group in (12, 250)
        }
        for name, pattern in REAL.items():
            if found := sorted(DATA.glob(pattern))[::10][:3]:
                cases[name] = found
        for name, paths in cases.items():
            for row in measure(name, paths):
                print(*row.values(), sep="\t", flush=True)
                rows.append({**head, **row})
    write_csv(ROOT / "results" / "decode.csv", rows)


if __name__ == "__main__":
    main()
