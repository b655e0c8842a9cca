"""Synthetic clips as video files, in class folders that training can read."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy import ndarray

from tanet.errors import UserError
from tanet.runtime.process_pool import map_in_order
from tanet.synthetic.clip import render
from tanet.synthetic.tracks import DEFAULT, VERBS, Difficulty

DESCRIPTION = "synthetic.json"
"""File that describes a data set. `tanet synthesize` writes it last, so an incomplete set has none."""


def write_video(path: str | Path, frames: ndarray, *, fps: int = 25) -> None:
    """Write frames as an h264 video in an mp4 file.

    Like common video files, the file has B-frames. Every 12th frame is a key frame. Missing folders are
    created. The file gets its name when it is complete; until then, `.part` is added to the name.

    Args:
        path: file to write.
        frames: uint8 [T, H, W, 3] with even H and W.
        fps: frames per second.

    Raises:
        UserError: `frames` is empty, or is not uint8 [T, H, W, 3] with even H and W.
        OSError: the file cannot be written; the error names its path.
    """
    import av

    # H and W must be even, because the format yuv420p halves the height and width of the colour planes.
    even = frames.ndim == 4 and frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    if frames.dtype != np.uint8 or not even or frames.shape[3] != 3 or not frames.size:
        raise UserError(f"need uint8 [T, H, W, 3] with even H and W, got {frames.dtype} {list(frames.shape)}")
    # At lower quality than crf 18, artefacts in newly uncovered regions would reveal the direction of time.
    options = {"preset": "superfast", "crf": "18", "g": "12", "bf": "2", "threads": "1"}
    part = Path(f"{path}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(part), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=fps, options=options)
            (stream.height, stream.width), stream.pix_fmt = frames.shape[1:3], "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode(None))
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # such as: the folder does not exist
            part.unlink()


def make_dataset(
    root: str | Path,
    *,
    train: int,
    val: int,
    seed: int = 0,
    verbs: Sequence[str] = VERBS,
    height: int = 96,
    width: int = 128,
    difficulty: Difficulty = DEFAULT,
    workers: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set of clips with 24 to 48 frames. The files are root/{train,val}/VERB/00000.mp4 ….

    A clip is determined by its seed, split, verb, number, size and difficulty. The number of workers does not
    change the clips.

    Args:
        root: folder for the data set; it must be new or empty.
        train: number of training clips for each verb.
        val: number of validation clips for each verb.
        seed: seed of the random numbers.
        verbs: verbs to include.
        height: height of the frames in pixels: even, at least 32.
        width: width of the frames in pixels: even, at least 32.
        difficulty: see `Difficulty`.
        workers: number of processes.
        report: called after each clip with the number of finished clips and the total number of clips.

    Raises:
        UserError: a verb is unknown, `root` is not empty, or the size of the frames is invalid.
        OSError: a file cannot be written.
    """
    root = Path(root)
    if unknown := sorted(set(verbs) - set(VERBS)):
        raise UserError(f"unknown verbs: {', '.join(unknown)}; known: {', '.join(VERBS)}")
    if root.is_dir() and any(root.iterdir()):
        raise UserError(f"{root} is not empty: choose a new folder")
    keys = []
    for split, count in enumerate((train, val)):
        keys += [(split, VERBS.index(verb), number) for verb in verbs for number in range(count)]
    make = partial(_make_clip, root, seed, partial(render, height=height, width=width, difficulty=difficulty))
    made = map_in_order(make, keys, workers=workers, chunk=8) if workers > 1 else map(make, keys)
    for done, _ in enumerate(made, start=1):
        if report:
            report(done, len(keys))


def _make_clip(root: Path, seed: int, draw: Callable[..., ndarray], key: tuple[int, int, int]) -> None:
    split, verb, number = key
    generator = np.random.default_rng((seed, *key))
    clip = draw(VERBS[verb], frames=int(generator.integers(24, 49)), generator=generator)
    write_video(root / ("train", "val")[split] / VERBS[verb] / f"{number:05d}.mp4", clip)
