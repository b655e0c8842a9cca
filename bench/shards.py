"""Measure the disk space and the reading speed of packed videos.

    python -m bench shards

The videos are generated ones of ten seconds, 340x256, and a real one. Each video is read from its raw file,
from JPEG shards and from h264 shards, as training clips: 8 frames, sampled and cropped at random as in the
workers of the loader. The column `from` names the source. `ratio` is p50 divided by p50 of the raw file.
All runs use one core.

`bytes_on_disk` is the size of the raw file or of the shards. `bytes_per_clip` is the number of bytes that are
read for one clip. From JPEG shards, only the frames of the clip are read; a raw file or an h264 video is read
as a whole. PSNR compares the frames with those of the raw file. All files are in the page cache, so the
benchmark measures decoding, not the disk.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.common import interleaved, percentiles, use_one_core
from bench.decode import DATA
from bench.make_video import make_clip
from tanet.data.annotations import read_split
from tanet.data.dataset import TrainClips
from tanet.data.samples import Sample
from tanet.data.shards.format import Format
from tanet.data.shards.read import open_packed_video
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.recipes.recipe import Data
from tanet.video import probe, read_frames

FORMATS: tuple[Format, ...] = ("jpeg", "h264")
FRAMES = 8
REPEATS = 15
CLIPS = 4  # clips that a timed run reads: one clip of the video in each of four epochs
PACKAGES = ("av", "torch", "numpy")


def packed(root: Path, out: Path, *, format: Format) -> Sample:
    """Pack the only video of the folder `root` into a shard, and return the sample of the packed video."""
    raw = read_split(Data(root=str(root), val_fraction=0.0))
    done = pack(
        raw.train,
        classes=raw.classes,
        root=root,
        out=out,
        split="videos",
        encoding=Encoding(format),
        shard_size=10**9,
        workers=1,
        limit=300,
    )
    assert [cause for _, cause in done] == [None]
    return read_split(Data(root=str(out), val_fraction=0.0)).train[0]


def psnr(sample: Sample, path: Path) -> float:
    """Return the PSNR of all frames of a packed video against its raw file, in dB."""
    assert sample.shard_entry is not None
    with open_packed_video(sample.shard_entry, name=sample.path) as video:
        every = range(video.info.frames)
        error = (video.read(every).float() - read_frames(path, every).float()).square().mean()
    return float(10 * (255**2 / error).log10())


def read_clips(clips: TrainClips) -> None:
    for key in range(CLIPS):
        assert isinstance(clips[key], tuple)


def videos(folder: Path) -> dict[str, Path]:
    """Write each video into a data set of its own (FOLDER/a/video.mp4), and return the files by name."""
    found = {}
    for group in (12, 250):
        path = folder / str(group) / "a" / "video.mp4"
        path.parent.mkdir(parents=True)
        make_clip(path, codec="libx264", group=group, options={"bf": "3", "threads": "1"})
        found[f"generated 340x256 h264, groups of {group}"] = path
    if (real := DATA / "clips/action/arm_wrestling.mp4").exists():
        path = folder / "real" / "a" / "video.mp4"
        path.parent.mkdir(parents=True)
        found["kinetics 340x256 h264"] = Path(shutil.copy(real, path))
    return found


def measure(name: str, path: Path, folder: Path) -> Iterator[dict[str, object]]:
    info = probe(path)
    samples: dict[str, Sample] = {"raw": Sample(str(path), 0)}
    sizes, quality = {"raw": path.stat().st_size}, {"raw": ""}
    for format in FORMATS:
        samples[format] = packed(path.parents[1], folder / format, format=format)
        sizes[format] = sum(shard.stat().st_size for shard in (folder / format).glob("*.tar"))
        quality[format] = f"{psnr(samples[format], path):.1f}"
    for sampling in ("uniform", "dense"):
        data = Data(sampling=sampling, flip="plain")
        runs = {
            source: partial(read_clips, TrainClips([sample], data, frames=FRAMES, classes=["a"]))
            for source, sample in samples.items()
        }
        times = interleaved(runs, repeats=REPEATS)
        found = {source: percentiles([CLIPS * 1e3 / t for t in times[source]]) for source in runs}
        for source, p in found.items():
            size = sizes[source]
            yield {
                "video": f"{name}, {info.frames} frames",
                "clips": sampling,
                "from": source,
                **{f"{key}_clips_per_s": f"{value:.1f}" for key, value in p.items()},
                "ratio": f"{p['p50'] / found['raw']['p50']:.2f}",
                "bytes_on_disk": size,
                "bytes_per_clip": size * FRAMES // info.frames if source == "jpeg" else size,
                "psnr_db": quality[source],
            }


def rows(_: argparse.Namespace) -> Iterator[dict[str, object]]:
    use_one_core()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, path) in enumerate(videos(Path(folder)).items()):
            yield from measure(name, path, Path(folder) / f"packed {number}")
