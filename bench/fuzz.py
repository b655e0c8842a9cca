"""Test the reader on 10,000 mutated files, and its memory over 20,000 opens in one process.

    python -m bench.fuzz                   writes results/fuzz.csv and results/opens.csv

A file is mutated by flipping bits, by cutting off its end, or by inserting a piece of another file. The file
is opened from disk or from its bytes, and eight frames are read. The reader passes if it returns frames or
raises a VideoError of one line. It fails if it raises any other error, if its process dies, or if it takes
more than ten seconds. For the 20,000 opens, files of every kind take turns; memory is the resident set size
(RSS) of the process after the warm-up.
"""

import os
import random
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from bench.common import ROOT, head, percentiles, write_csv
from tanet.runtime.device import available_cores
from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import DamagedVideo, VideoError, open_video
from tests.support.encoded_videos import all_kinds

DATA = Path(os.environ.get("TANET_DATA", ROOT.parent / "shared" / "data"))
MUTATIONS = ("bits flipped", "cut", "spliced")
FILES, LIMIT = 10_000, 10.0
OPENS, WARM_UP, EVERY = 20_000, 2_000, 2_000
LARGEST = 2_000_000  # bytes; larger files are not mutated


@dataclass(frozen=True)
class Outcome:
    """The result of reading one mutated file."""

    error: str = ""
    """Message of the VideoError; empty if frames were read."""
    milliseconds: float = 0.0


@cache
def sources(folder: Path) -> list[Path]:
    """Return the files to mutate: the shared clips and the generated ones."""
    files = [*DATA.glob("clips/*/*"), *DATA.glob("decode/*/*.avi"), *folder.iterdir()]
    return [path for path in sorted(files) if 0 < path.stat().st_size <= LARGEST]


def mutate(data: bytearray, other: bytes, *, kind: str, choose: random.Random) -> bytearray:
    """Mutate the bytes of a file, and return at most as many bytes as both files together have."""
    if kind == "bits flipped":
        for _ in range(choose.choice((1, 8, 64, 512))):
            data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    elif kind == "cut":
        del data[choose.randrange(len(data)) :]
    else:
        begin, length = choose.randrange(len(other)), choose.choice((16, 512, 8192, 65536))
        at = choose.randrange(len(data))
        piece = other[begin : begin + length]
        data[at : at + choose.choice((0, len(piece)))] = piece  # insert the piece, or overwrite with it
    return data


def read_mutated(number: Path, *, folder: Path) -> Outcome:
    """Write, open and read the mutated file with this number."""
    seed = int(number.name)
    choose, files = random.Random(seed), sources(folder)
    source, other = choose.choice(files), choose.choice(files)
    kind = MUTATIONS[seed % len(MUTATIONS)]
    data = bytes(mutate(bytearray(source.read_bytes()), other.read_bytes(), kind=kind, choose=choose))
    start = time.perf_counter()
    error = ""
    with tempfile.NamedTemporaryFile(suffix=source.suffix) as file:
        file.write(data)
        file.flush()
        try:
            with open_video(Path(file.name) if seed // len(MUTATIONS) % 2 else data) as video:
                info = video.info
                frames = video.read([choose.randrange(info.frames) for _ in range(8)])
            assert frames.shape == (8, info.height, info.width, 3)
        except VideoError as problem:
            error = str(problem)
            assert error, "an error without words"
            assert "\n" not in error, error
    return Outcome(error, 1e3 * (time.perf_counter() - start))


def fuzz(folder: Path) -> list[dict[str, object]]:
    """Read all mutated files, and return one row per kind of mutation."""
    found: dict[str, list[Outcome | FailedFile]] = defaultdict(list)
    work = partial(read_mutated, folder=folder)
    numbers = [Path(str(number)) for number in range(FILES)]
    for number, outcome in map_files(work, numbers, workers=available_cores(), limit=LIMIT):
        found[MUTATIONS[int(number.name) % len(MUTATIONS)]].append(outcome)
        if isinstance(outcome, FailedFile):
            print(number, outcome, flush=True)
    rows = []
    for kind in MUTATIONS:
        done = [outcome for outcome in found[kind] if isinstance(outcome, Outcome)]
        lost = [outcome.kind for outcome in found[kind] if isinstance(outcome, FailedFile)]
        rows.append(
            {
                "mutation": kind,
                "files": len(found[kind]),
                "frames": sum(not outcome.error for outcome in done),
                "one_clear_error": sum(bool(outcome.error) for outcome in done),
                "hanging": lost.count("hanging"),
                "crashed": lost.count("crashed"),
                **{
                    f"{p}_ms": f"{value:.1f}"
                    for p, value in percentiles([outcome.milliseconds for outcome in done]).items()
                },
                "max_ms": f"{max(outcome.milliseconds for outcome in done):.0f}",
            }
        )
    return rows


def open_many(folder: Path) -> list[dict[str, object]]:
    """Open files again and again; return a row with the memory of the process for every 2,000 opens."""
    files = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in files]
    rows: list[dict[str, object]] = []
    first = 0.0
    for number in range(OPENS + WARM_UP + 1):
        if number >= WARM_UP and (number - WARM_UP) % EVERY == 0:
            memory = resident_mebibytes()
            first = first or memory
            rows.append(
                {
                    "opens": number - WARM_UP,
                    "resident_mib": f"{memory:.2f}",
                    "change_mib": f"{memory - first:+.2f}",
                }
            )
        at = number % len(files)
        source = contents[at] if number // len(files) % 2 else files[at]
        # A truncated file may announce more frames than it has.
        with open_video(source) as video, suppress(DamagedVideo):
            video.read([0, video.info.frames - 1])
    return rows


def resident_mebibytes() -> float:
    """Return the resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        all_kinds(folder)
        for file, make in (("fuzz.csv", fuzz), ("opens.csv", open_many)):
            rows = [{**head("av", "numpy"), **row} for row in make(folder)]
            for row in rows:
                print(*list(row.values())[4:], sep="\t", flush=True)
            write_csv(ROOT / "results" / file, rows)


if __name__ == "__main__":
    main()
