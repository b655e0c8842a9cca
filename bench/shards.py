"""Measure what packing costs on disk and saves in reading: clips per second on one core, bytes per clip.

    python -m bench shards

Training clips (8 frames, sampled and cropped at random as in the loader's workers) are read from generated
340x256 videos of ten seconds and from a real one: from the file itself, from JPEG shards, and from h264
shards. Bytes are counted on disk and per clip: a raw file or an mp4 is read as a whole for each clip, but of
JPEG shards only the clip's own frames are read. PSNR compares the frames with those of the raw file. Files
are in the page cache, so decoding is measured, not the disk. `ratio` is p50 divided by that of the raw file.
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
CLIPS = 4  # clips per run: one video in different epochs
PACKAGES = ("av", "torch", "numpy")


def packed(root: Path, out: Path, *, format: Format) -> Sample:
    """Pack the only video of a root into a shard, and return its sample there."""
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
    """Write the videos, each alone in the class folder of its own root, and return them by name."""
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
