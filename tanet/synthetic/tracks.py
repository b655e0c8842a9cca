"""Where everything in a made-up video is at every moment: verbs, their pace, camera, distractors.

All but the verb has the same distribution forwards and backwards, at any difficulty, so that within a pair
the frames without their order say nothing.

Lengths are in pixels, y points down, angles are counter-clockwise; times run from 0 to 1 over a clip.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from tanet.errors import UserError

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
    """What hides the verb; with every dial at 0 the background is still and the verb goes evenly.

    Camera, speed and tempo, and activity are what makes real motion complex: the camera moves, the same
    action goes at another speed, and bodies do several things at once.
    """

    camera: float = 0.05
    """Largest pan of the camera, as a fraction of the short side; the verb is what goes on in the scene."""
    speed: float = 0.6
    """Within a clip the pace varies by a factor of e^±speed."""
    tempo: float = 0.0
    """Between clips: a verb takes a part of its clip, e^-tempo to 1; before and after the object waits."""
    activity: float = 0.0
    """What the object does besides the verb: sways by 0.3 of the short side, grows by e^±0.5, turns by ±90°,
    each times this, but not in the way that the verb goes."""
    distractors: int = 1
    """Objects that wander and do no verb."""
    noise: float = 0.01
    """Standard deviation of the sensor's noise, as a fraction of full brightness."""
    light: float = 0.05
    """Largest drift of the brightness, as a fraction."""
    facing: float = 1.0
    """How far from up the middle of a turn may face, as a fraction of half a circle."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0:
            raise UserError(f"no dial of the difficulty may be negative: {self}")


DEFAULT = Difficulty()
HARD = Difficulty(camera=0.3, speed=0.8, tempo=0.5, activity=0.4, distractors=2)
"""What `tanet synthesize` makes unless told otherwise."""


def wander(times: ndarray, generator: Generator) -> ndarray:
    """A smooth path within ±1: two slow sines of random phase, so the same in distribution backwards."""
    sines = [np.sin(generator.uniform(2, 6) * times + generator.uniform(0, 2 * np.pi)) for _ in range(2)]
    return 0.7 * sines[0] + 0.3 * sines[1]  # [T]


def progress(times: ndarray, dials: Difficulty, generator: Generator) -> ndarray:
    """How far the verb has come, rising from 0 to 1: the integral of a random positive pace."""
    pace = np.exp(dials.speed * wander(times, generator))
    passed = np.concatenate([[0.0], np.cumsum(pace[1:] + pace[:-1])])
    passed = passed / passed[-1]  # [T]
    if dials.tempo:
        part = math.exp(-dials.tempo * generator.uniform())
        start = (1 - part) * generator.uniform()
        passed = np.interp(times, start + part * times, passed)
    return passed


def act(
    verb: str, progress: ndarray, pan: ndarray, size: tuple[int, int], dials: Difficulty, generator: Generator
) -> ndarray:
    """The object's track for the first verb of a pair, inside the centred square wherever it fits there.

    Returns:
        [6, T]: x, y, radius, angle, opacity and uncovered, the shape's own x (in radii) where hiding begins.
    """
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
        angle = np.pi / 2 + dials.facing * (angle - np.pi) + np.radians(uniform(100, 140)) * (progress - 0.5)
        # About its rear, as a hand of a clock.
        x, y = 0.8 * radius * np.stack([np.cos(angle), -np.sin(angle)])
    elif uniform() < 0.5:
        opacity = progress
    else:
        uncovered = 2.4 * progress - 1.2
    if dials.activity:
        along_x, along_y, grown, turned = _besides(verb, dials.activity, len(progress), generator)
        x, y = x + 0.3 * unit * along_x, y + 0.3 * unit * along_y
        radius, angle = radius * np.exp(0.5 * grown), angle + np.pi / 2 * turned
    reach = unit / 2 - 0.8 * radius.max()
    x = _place(x - pan[0], width / 2 - reach, width / 2 + reach, generator)
    y = _place(y - pan[1], height / 2 - reach, height / 2 + reach, generator)
    return np.stack(np.broadcast_arrays(x, y, radius, angle, opacity, uncovered))  # [6, T]


def _besides(verb: str, activity: float, frames: int, generator: Generator) -> ndarray:
    """What the object does besides its verb: along x, along y, grown, turned; [4, T]. It tells nothing of the
    verb, whose own way is left to it: an object that moves left sways up and down alone."""
    kept = {"move_left": 0, "move_up": 1, "approach": 2, "turn_left": 3}.get(verb)
    ways = activity * np.stack([wander(np.linspace(0, 1, frames), generator) for _ in range(4)])
    if kept is not None:
        ways[kept] = 0
    return ways


def distract(times: ndarray, pan: ndarray, size: tuple[int, int], generator: Generator) -> ndarray:
    """The track of a smaller object that wanders about one place of the scene."""
    (height, width), unit, uniform = size, min(size), generator.uniform
    x = uniform(0, width) + 0.03 * unit * wander(times, generator) - pan[0]
    y = uniform(0, height) + 0.03 * unit * wander(times, generator) - pan[1]
    return np.stack(np.broadcast_arrays(x, y, unit * uniform(0.09, 0.14), uniform(0, 2 * np.pi), 1, 2))


def _place(path: ndarray, low: float, high: float, generator: Generator) -> ndarray:
    """Shifts a path to a random place within [low, high]; one that is longer overhangs both ends."""
    return path + generator.uniform(*sorted((low - path.min(), high - path.max())))
