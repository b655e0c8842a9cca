"""Read 10,000 mutated files, and measure the memory of one process that opens 20,000 files.

A file is mutated by flipping bits, by cutting off its end, or by inserting a piece of another file. The file
is opened from disk or from its bytes, and eight frames are read. The reader passes if it returns frames or
raises a VideoError of one line. It fails if it raises any other error, if its process dies, or if it takes
more than ten seconds. For the 20,000 opens, files of every kind take turns; memory is the resident set size
(RSS) of the process after the warm-up.
"""

import os
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest

from tanet.runtime.device import available_cores
from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import DamagedVideo, VideoError, open_video
from tests.support.encoded_videos import encode_all_kinds

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
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
    return Outcome(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    encode_all_kinds(folder)
    return folder


def test_mutated_files_give_frames_or_one_clear_error(folder):
    work = partial(read_mutated, folder=folder)
    numbers = [Path(str(number)) for number in range(FILES)]
    lost, read = [], 0
    for number, outcome in map_files(work, numbers, workers=available_cores(), limit=LIMIT):
        if isinstance(outcome, FailedFile):
            lost.append((number.name, outcome))
        else:
            read += not outcome.error
    assert not lost
    assert FILES / 2 < read < FILES  # most mutations leave something to read, and some do not


def test_opening_files_again_and_again_keeps_memory_flat(folder):
    files = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in files]
    memory = []
    for number in range(OPENS + WARM_UP + 1):
        if number >= WARM_UP and (number - WARM_UP) % EVERY == 0:
            memory.append(resident_mebibytes())
        at = number % len(files)
        source = contents[at] if number // len(files) % 2 else files[at]
        # A truncated file may announce more frames than it has.
        with open_video(source) as video, suppress(DamagedVideo):
            video.read([0, video.info.frames - 1])
    assert max(memory) - memory[0] < 1.0  # MiB


def resident_mebibytes() -> float:
    """Return the resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
