"""Time opening a video and decoding one clip, and check the frames.

    python -m bench decode

The benchmark compares these readers on one core:

- `tanet` calls `open_video(path).read(indices)`.
- `seek` is the usual code with PyAV. For each wanted frame, it seeks to the key frame before that frame and
  decodes until it reaches the time of the frame. It does not seek if the frame is in the group that it is
  decoding. It reads only the packets that it decodes, because it computes the times of the frames from a
  constant frame rate. Its frames are therefore wrong for some files.
- `seek exact` works like `seek`, but first reads the times of all packets. A reader that is right for all
  files must do so.
- `sequential` decodes all frames from the start of the file up to the last wanted frame.
- `torchcodec exact`, `torchcodec approximate`, `decord2` and `opencv` are other libraries. The benchmark
  installs them into a temporary folder. torchcodec uses PyAV's FFmpeg; its approximate mode trusts the
  header of the file. OpenCV reads every frame, and converts only the wanted frames.

`ratio` is a reader's time divided by `tanet`'s time in the same round. A row holds the median over all
rounds. A slow round slows both readers, so it hardly changes the ratio. `right` says whether all frames
equal those of sequential decoding. If `right` is `no`, ignore the reader's time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median

import av
import numpy as np
from av.container import InputContainer

from bench.common import ROOT, interleaved, percentiles, use_one_core, versions
from bench.make_video import make_clip
from tanet.video import open_video
from tests.support import encoded_videos

DATA = Path(os.environ.get("TANET_DATA", ROOT.parent / "shared" / "data"))
# Name of a group of videos → (glob pattern, n). Every n-th matching file is used, and at most three files.
REAL = {
    "ucf101 avi 320x240 mpeg4": ("decode/*/*.avi", 10),
    "ucf101 avi, a picture not coded": ("decode/Swing/v_Swing_g02_c01.avi", 1),
    "arrow6 mp4 172x128 h264": ("arrow6/val/*/*.mp4", 10),
    "kinetics mp4 340x256 h264": ("clips/action/arm_wrestling.mp4", 1),
}
# Name of a generated video → (file name, codec, frames from one key frame to the next, encoder options).
GENERATED = {
    "h264, groups of 12": ("12.mp4", "libx264", 12, {"bf": "3", "threads": "1"}),
    "h264, groups of 250": ("250.mp4", "libx264", 250, {"bf": "3", "threads": "1"}),
    "hevc, groups of 12": ("hevc.mp4", "libx265", 12, encoded_videos.X265),
    "vp9, groups of 128": ("vp9.webm", "libvpx-vp9", 128, {"cpu-used": "8", "deadline": "realtime"}),
}
# torchcodec is pinned to this release, because later releases require CUDA.
RIVALS = ("torchcodec==0.13.0", "decord2", "opencv-python-headless")
REPEATS = 25
Reader = Callable[[Path, Sequence[int]], np.ndarray]
PACKAGES = ("av", "torch", "numpy")


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
        # The index holds decoding times: shift the presentation time `wanted` by the index's first timestamp.
        key = stream.index_entries.search_timestamp(wanted + stream.index_entries[0].timestamp)
        # Seek only into a later group: within a group, decoding further is cheaper than seeking again.
        if key > entry:
            container.seek(wanted, stream=stream)
            coming, entry = container.decode(stream), key
        for frame in coming:
            if frame.pts is not None and frame.pts >= wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
                break
    return np.stack(frames)


READERS: dict[str, Reader] = {"tanet": ours, "seek": seek, "seek exact": seek_exact, "sequential": sequential}


def clip_indices(frames: int) -> dict[str, list[int]]:
    """Return the indices of two clips of eight frames, sampled as in recipes.

    The frames of the clip `uniform` are spread evenly over the video. The clip `dense` has every eighth frame
    of the middle 64; it is empty if the video is shorter.
    """
    start = (frames - 64) // 2
    return {
        "uniform": [int((part + 0.5) * frames / 8) for part in range(8)],
        "dense": [start + 8 * step for step in range(8)] if start >= 0 else [],
    }


def read_all(read: Reader, wanted: Mapping[Path, Sequence[int]]) -> None:
    for path, indices in wanted.items():
        read(path, indices)


def measure(name: str, paths: Sequence[Path], readers: Mapping[str, Reader]) -> Iterator[dict[str, object]]:
    for choice in ("uniform", "dense"):
        wanted = {}
        for path in paths:
            with open_video(path) as video:
                if indices := clip_indices(video.frames)[choice]:
                    wanted[path] = indices
        right = {
            reader: all(equals(read, *clip) for clip in wanted.items()) for reader, read in readers.items()
        }
        assert right["tanet"], name
        runs = {reader: partial(read_all, read, wanted) for reader, read in readers.items()}
        times = interleaved(runs, repeats=REPEATS)
        for reader in readers:
            p = percentiles(times[reader])
            yield {
                "case": f"{name}, {choice}",
                "reader": reader,
                **{f"{key}_ms": f"{value / len(wanted):.2f}" for key, value in p.items()},
                "ratio": f"{median(map(truediv, times[reader], times['tanet'])):.2f}",
                "right": "yes" if right[reader] else "no",
            }


def equals(read: Reader, path: Path, indices: Sequence[int]) -> bool:
    try:
        return np.array_equal(read(path, indices), sequential(path, indices))
    except Exception as error:  # the reader failed: print the error and count the reader as wrong
        print(read, path.name, repr(error)[:200], sep="\t")
        return False


def rivals() -> dict[str, Reader]:
    """Return the readers that use other libraries. The function `rows` installs these libraries first."""
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports]

    # Import torchcodec before decord. Otherwise torchcodec would load decord's FFmpeg.
    # isort: split
    import cv2  # pyright: ignore[reportMissingImports]
    import decord  # pyright: ignore[reportMissingImports]

    cv2.setNumThreads(1)

    def torchcodec(path: Path, indices: Sequence[int], *, mode: str) -> np.ndarray:
        decoder = VideoDecoder(path, num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode=mode)
        return decoder.get_frames_at(list(indices)).data.numpy()

    def decord2(path: Path, indices: Sequence[int]) -> np.ndarray:
        return decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()

    def opencv(path: Path, indices: Sequence[int]) -> np.ndarray:
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        frames = []
        for number in range(indices[-1] + 1):
            video.grab()
            if number in indices:
                frames.append(cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB))
        return np.stack(frames)

    return {
        "torchcodec exact": partial(torchcodec, mode="exact"),
        "torchcodec approximate": partial(torchcodec, mode="approximate"),
        "decord2": decord2,
        "opencv": opencv,
    }


def measure_all(readers: Mapping[str, Reader]) -> Iterator[dict[str, object]]:
    """Time the readers on all groups of videos. Yield one row per group, clip and reader."""
    use_one_core()
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            f"generated 340x256 {name}": [
                make_clip(Path(folder) / file, codec=codec, group=group, options=options)
            ]
            for name, (file, codec, group, options) in GENERATED.items()
            if codec in av.codecs_available
        }
        for name, (pattern, step) in REAL.items():
            if found := sorted(DATA.glob(pattern))[::step][:3]:
                cases[name] = found
        for name, paths in cases.items():
            yield from measure(name, paths, readers)


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alone", action="store_true", help="leave out the readers that must be installed")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    if flags.alone:
        yield from measure_all(READERS)
        return
    # Install the other libraries into a temporary folder, and measure in a new process that uses this folder.
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*install, *RIVALS], check=True)
        libraries = Path(av.__file__).parents[1] / "av.libs"
        # Link PyAV's FFmpeg to the names that torchcodec loads: libavutil-58….so.60.26.102 → libavutil.so.60.
        for path in libraries.glob("lib*-*.so.*"):
            name, version = path.name.split(".so.")
            plain = Path(folder) / f"{name.rsplit('-', 1)[0]}.so.{version.split('.')[0]}"
            if plain.name.startswith(("libav", "libsw")):
                plain.symlink_to(path)
        places = {"LD_LIBRARY_PATH": f"{folder}:{libraries}", "PYTHONPATH": folder}
        with subprocess.Popen(
            [sys.executable, "-m", "bench.decode"],
            cwd=ROOT,
            env={**os.environ, **places},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
        if process.returncode:
            raise SystemExit("the process that times the readers failed; see its error above")


if __name__ == "__main__":  # in the process that times the readers
    installed = versions("av", "torch", "numpy", *(name.partition("==")[0] for name in RIVALS))
    for row in measure_all(READERS | rivals()):
        print(json.dumps({"versions": installed, **row}), flush=True)
