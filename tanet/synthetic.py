"""Real video files whose label needs the order of frames: ten verbs in five pairs, one the other reversed.

    frames(second verb of a pair) = frames(first verb of the pair)[::-1]        exactly, before encoding

A clip is a textured background under a slowly panning camera, one object that does the verb with changing
speed, and distractors that only wander. Everything but the verb has the same distribution forwards and
backwards (camera, speed, distractors, light, noise), so within a pair the frames without their order say
nothing: a network that ignores order gets half of them right, however large it is.

Lengths are in pixels, y points down, angles are counter-clockwise; times run from 0 to 1 over a clip."""

import colorsys
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy import ndarray
from numpy.random import Generator

PAIRS = (
    ("move_left", "move_right"),
    ("move_up", "move_down"),
    ("approach", "recede"),
    ("appear", "vanish"),
    ("turn_left", "turn_right"),
)
VERBS: tuple[str, ...] = tuple(verb for pair in PAIRS for verb in pair)


@dataclass(frozen=True)
class Difficulty:
    """What hides the verb; with every dial at 0 the background is still and the verb goes evenly."""

    camera: float = 0.05  # largest pan, as a fraction of the short side
    speed: float = 0.6  # the pace varies by a factor of e^±speed
    distractors: int = 1  # objects that wander and do no verb
    noise: float = 0.01  # standard deviation of the sensor's noise, as a fraction of full brightness
    light: float = 0.05  # largest drift of the brightness, as a fraction
    facing: float = 1.0  # how far from up the middle of a turn may face, as a fraction of half a circle

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0:
            raise ValueError(f"no dial of the difficulty may be negative: {self}")


DEFAULT = Difficulty()


def render(
    verb: str,
    *,
    frames: int = 32,
    height: int = 96,
    width: int = 128,
    difficulty: Difficulty = DEFAULT,
    generator: Generator,
) -> ndarray:
    """Draws one clip, uint8 [T, H, W, 3].

    The scene is drawn from the generator before the verb is, so one seed gives all verbs one scene. Raises
    ValueError for an unknown verb, and for fewer than 2 frames or a side below 32 pixels.
    """
    if verb not in VERBS:
        raise ValueError(f"unknown verb {verb!r}; known: {', '.join(VERBS)}")
    if frames < 2 or min(height, width) < 32:
        raise ValueError(f"need 2 frames and 32 x 32 pixels at least, got {frames} of {height} x {width}")
    forward, backward = next(pair for pair in PAIRS if verb in pair)
    times, size, unit = np.linspace(0, 1, frames), (height, width), min(height, width)
    # In whole pixels, for the object too: so the background need not be resampled.
    pan = np.rint(difficulty.camera * unit * np.stack([_wander(times, generator) for _ in "xy"]))  # [2, T]
    light = 1 + difficulty.light * _wander(times, generator)
    margin = math.ceil(difficulty.camera * unit)
    background = _background(height + 2 * margin, width + 2 * margin, unit, generator)
    left, top = (margin + pan).astype(int)
    tracks = [_distract(times, pan, size, generator) for _ in range(difficulty.distractors)]
    cast = [(_shape(generator), track) for track in tracks]
    shape, progress = _shape(generator), _progress(times, difficulty.speed, generator)
    cast.append((shape, _act(forward, progress, pan, size, difficulty.facing, generator)))

    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones(size)]).astype(np.float32)
    clip = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        frame = background[:, top[t] : top[t] + height, left[t] : left[t] + width].copy()  # [3, H, W]
        for shape, track in cast:
            _draw(frame, grid, shape, track[:, t])
        frame *= np.float32(light[t])
        # Uniform noise of that deviation: it costs a fifth of normal noise. One value for the three colours.
        frame += np.float32(255 * 12**0.5 * difficulty.noise) * (generator.random(size, np.float32) - 0.5)
        clip[t] = np.clip(np.rint(frame), 0, 255).transpose(1, 2, 0)
    return clip[::-1] if verb == backward else clip


def _wander(times: ndarray, generator: Generator) -> ndarray:
    """A smooth path within ±1: two slow sines of random phase, so the same in distribution backwards."""
    sines = [np.sin(generator.uniform(2, 6) * times + generator.uniform(0, 2 * np.pi)) for _ in range(2)]
    return 0.7 * sines[0] + 0.3 * sines[1]  # [T]


def _progress(times: ndarray, speed: float, generator: Generator) -> ndarray:
    """How far the verb has come, rising from 0 to 1: the integral of a random positive pace."""
    pace = np.exp(speed * _wander(times, generator))
    passed = np.concatenate([[0.0], np.cumsum(pace[1:] + pace[:-1])])
    return passed / passed[-1]  # [T]


def _act(
    verb: str, progress: ndarray, pan: ndarray, size: tuple[int, int], facing: float, generator: Generator
) -> ndarray:
    """The object's track for the first verb of a pair, inside the centred square wherever it fits there:
    x, y, radius, angle, opacity and uncovered, the shape's own x (in radii) where hiding begins."""
    (height, width), unit, uniform = size, min(size), generator.uniform
    x = y = np.zeros_like(progress)
    radius, angle, opacity, uncovered = np.array(unit * uniform(0.18, 0.24)), uniform(0, 2 * np.pi), 1, 2
    if verb in ("move_left", "move_up"):
        heading = (np.pi if verb == "move_left" else np.pi / 2) + uniform(-0.3, 0.3)
        x, y = unit * uniform(0.5, 0.65) * np.outer((math.cos(heading), -math.sin(heading)), progress)
    elif verb == "approach":
        radius = unit * uniform(0.32, 0.4) * uniform(2.0, 2.7) ** (progress - 1)
    elif verb == "turn_left":
        radius = np.array(unit * uniform(0.26, 0.32))
        # Up to speed 1, 8 even frames are less than 45° apart: no turn can be taken for its reverse.
        angle = np.pi / 2 + facing * (angle - np.pi) + np.radians(uniform(100, 140)) * (progress - 0.5)
        # About its rear, as a hand of a clock.
        x, y = 0.8 * radius * np.stack([np.cos(angle), -np.sin(angle)])
    elif uniform() < 0.5:
        opacity = progress
    else:
        uncovered = 2.4 * progress - 1.2
    reach = unit / 2 - 0.8 * radius.max()
    x = _place(x - pan[0], width / 2 - reach, width / 2 + reach, generator)
    y = _place(y - pan[1], height / 2 - reach, height / 2 + reach, generator)
    return np.stack(np.broadcast_arrays(x, y, radius, angle, opacity, uncovered))  # [6, T]


def _distract(times: ndarray, pan: ndarray, size: tuple[int, int], generator: Generator) -> ndarray:
    """The track of a smaller object that wanders about one place of the scene."""
    (height, width), unit, uniform = size, min(size), generator.uniform
    x = uniform(0, width) + 0.03 * unit * _wander(times, generator) - pan[0]
    y = uniform(0, height) + 0.03 * unit * _wander(times, generator) - pan[1]
    return np.stack(np.broadcast_arrays(x, y, unit * uniform(0.09, 0.14), uniform(0, 2 * np.pi), 1, 2))


def _place(path: ndarray, low: float, high: float, generator: Generator) -> ndarray:
    """Shifts a path to a random place within [low, high]; one that is longer overhangs both ends."""
    return path + generator.uniform(*sorted((low - path.min(), high - path.max())))


@dataclass(frozen=True)
class _Shape:
    """Convex patches, from the rear to the front, in the shape's own axes with its radius as the unit."""

    sides: ndarray  # [S, 3], of which (x, y, 1) gives the distances to all sides of all patches
    patches: tuple[slice, ...]  # each patch's sides
    colors: ndarray  # [patches, 3]
    rim: float  # the outline's grey
    stripes: tuple[float, float]  # the texture's frequency (per radius, along x) and phase


def _shape(generator: Generator) -> _Shape:
    """A long striped body, a pale nose at its end and a fin at one side: no rotation maps it to itself."""
    uniform, hue, round_ = generator.uniform, generator.uniform(), 12  # sides enough to look round
    kinds = [int(generator.choice(of)) for of in ((3, 4, round_), (4, 5, 6, round_), (3, 4, round_))]
    ends, hand = np.cumsum(kinds), generator.choice([-0.5, 0.5])
    patches = [
        _polygon(kinds[0], (uniform(-0.55, -0.25), hand), (uniform(0.26, 0.36), uniform(0.3, 0.4))),
        _polygon(kinds[1], (-0.1, 0), (uniform(0.72, 0.85), uniform(0.42, 0.52))),
        _polygon(kinds[2], (0.62, 0), (uniform(0.3, 0.38), uniform(0.26, 0.34))),
    ]
    colors = [_color(hue + uniform(0.2, 0.8), 0.9, 0.8), _color(hue, 0.85, 0.9), _color(hue + 0.5, 0.2, 1)]
    rim, stripes = float(generator.choice([15, 245])), (uniform(6, 14), uniform(0, 2 * np.pi))
    slices = tuple(map(slice, (0, *ends[:-1]), ends))
    return _Shape(np.concatenate(patches), slices, np.array(colors, np.float32), rim, stripes)


def _polygon(sides: int, center: tuple[float, float], axes: tuple[float, float]) -> ndarray:
    """The sides of a regular polygon with a corner at +x, stretched to two half-axes."""
    normal = np.pi * (2 * np.arange(sides) + 1) / sides
    x, y = np.cos(normal) / axes[0], np.sin(normal) / axes[1]
    offset = -np.cos(np.pi / sides) - x * center[0] - y * center[1]
    return min(axes) * np.stack([x, y, offset], axis=1)  # [sides, 3]


def _draw(frame: ndarray, grid: ndarray, shape: _Shape, pose: ndarray) -> None:
    """Paints a shape in one pose of its track into a float frame [3, H, W] over its grid of (x, y, 1)."""
    x, y, radius, angle, opacity, uncovered = pose.tolist()
    reach = 1.2 * radius + 2  # holds the outline and the soft edge
    rows = slice(max(0, math.floor(y - reach)), max(0, math.ceil(y + reach)))
    columns = slice(max(0, math.floor(x - reach)), max(0, math.ceil(x + reach)))
    box = frame[:, rows, columns]
    cos, sin = math.cos(angle) / radius, math.sin(angle) / radius
    own = np.array([[cos, -sin, sin * y - cos * x], [-sin, -cos, sin * x + cos * y], [0, 0, 1]])
    planes = np.concatenate([shape.sides @ own, own[:1]]).astype(np.float32)
    # Not `@`: BLAS would start its threads for every frame, and lose more than it wins.
    lines = np.einsum("sk,khw->shw", planes, grid[:, rows, columns])  # [S + 1, h, w], the last is the own x
    depth = [np.maximum.reduce(lines[patch]) for patch in shape.patches]  # each [h, w], negative inside

    def inside(distance: ndarray) -> ndarray:  # with an edge one pixel soft
        return np.clip(0.5 - radius * distance, 0, 1)

    paint = np.full_like(box, shape.rim)
    for distance, color in zip(depth, shape.colors, strict=True):
        paint += inside(distance) * (color[:, None, None] - paint)
    paint *= 1 + 0.15 * np.sin(shape.stripes[0] * lines[-1] + shape.stripes[1])
    box += opacity * inside(np.minimum.reduce(depth) - 0.07) * inside(lines[-1] - uncovered) * (paint - box)


def _color(hue: float, saturation: float, value: float) -> ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))  # [3]


def _background(height: int, width: int, unit: int, generator: Generator) -> ndarray:
    """Patches of three muted colours under finer mottling: smooth noise of four grains, float [3, H, W]."""

    def noise(cell: float) -> ndarray:
        # Random values on a grid, blended by a Gaussian of about a cell, along y and then along x.
        place = np.arange(max(height, width))[:, None] / cell
        blend = np.exp(-2 * (place - np.arange(-1, place.max() + 3)) ** 2)
        values = generator.standard_normal((blend.shape[1], blend.shape[1]))
        return np.einsum("yj,xj->yx", np.einsum("yi,ij->yj", blend[:height], values), blend[:width])  # [H, W]

    hue, value = generator.uniform(), generator.uniform(0.35, 0.75)
    canvas = np.zeros((3, height, width))
    for step, patches in ((0, np.inf), (-0.15, noise(unit / 2)), (0.15, noise(unit / 4))):
        color = _color(hue + generator.uniform(-0.12, 0.12), generator.uniform(0.15, 0.5), value + step)
        canvas += (1 + np.tanh(4 * patches)) / 2 * (color[:, None, None] - canvas)
    canvas *= 1 + 0.06 * noise(unit / 10) + 0.05 * noise(unit / 24)
    return np.clip(canvas, 0, 255).astype(np.float32)


def write_video(path: str | Path, frames: ndarray, *, fps: int = 25) -> None:
    """Writes uint8 [T, H, W, 3] as h264 in mp4, with B-frames and a key frame every 12 as in usual files.

    Makes the folder if need be. Raises ValueError for another shape or an odd side, OSError with the path.
    """
    import av

    even = frames.ndim == 4 and frames.shape[1] % 2 == frames.shape[2] % 2 == 0  # 4:2:0 halves both
    if frames.dtype != np.uint8 or not even or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"need uint8 [T, H, W, 3] of even H and W, got {frames.dtype} {list(frames.shape)}")
    # crf 18: coarser coding would mark what was just uncovered, and with it the direction of time.
    options = {"preset": "superfast", "crf": "18", "g": "12", "bf": "2", "threads": "1"}
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=fps, options=options)
            (stream.height, stream.width), stream.pix_fmt = frames.shape[1:3], "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode(None))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


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
    """Writes root/{train,val}/VERB/00000.mp4 …, `train` and `val` clips of 24 to 48 frames for each verb.

    A clip depends on (seed, split, verb, number) alone, not on `workers`, the number of processes. `report`
    is told (clips done, of how many). ValueError for an unknown verb or a root with content, OSError else.
    """
    root = Path(root)
    if unknown := sorted(set(verbs) - set(VERBS)):
        raise ValueError(f"unknown verbs: {', '.join(unknown)}; known: {', '.join(VERBS)}")
    if root.is_dir() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty; name a new folder for the clips")
    keys = []
    for split, count in enumerate((train, val)):
        keys += [(split, VERBS.index(verb), number) for verb in verbs for number in range(count)]
    make = partial(_make_clip, root, seed, partial(render, height=height, width=width, difficulty=difficulty))
    # Spawned, not forked: a fork would break the threads that the caller may hold (torch's, a decoder's).
    many = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext()
    with many as pool:
        for done, _ in enumerate(pool.map(make, keys, chunksize=8) if pool else map(make, keys), start=1):
            if report:
                report(done, len(keys))


def _make_clip(root: Path, seed: int, draw: Callable[..., ndarray], key: tuple[int, int, int]) -> None:
    split, verb, number = key
    generator = np.random.default_rng((seed, *key))
    clip = draw(VERBS[verb], frames=int(generator.integers(24, 49)), generator=generator)
    write_video(root / ("train", "val")[split] / VERBS[verb] / f"{number:05d}.mp4", clip)
