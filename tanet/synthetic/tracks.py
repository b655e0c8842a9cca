"""Tracks in a synthetic video: how the object, the distractors and the camera move over time.

The class of a video is its verb: the action that the object performs, such as `move_left`.

At any difficulty, everything but the verb has the same distribution forwards and backwards. The two verbs of
a pair therefore cannot be told apart without the order of the frames.

Lengths are in pixels, y points down, and angles are counter-clockwise. Times run from 0 to 1 over a clip.
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
    """Difficulty of synthetic videos.

    If all values are 0, the background is still and the verb's speed is constant.

    `camera`, `speed`, `tempo` and `activity` imitate the complexity of real motion: the camera moves, the
    same action has different speeds, and bodies do several things at once.
    """

    camera: float = 0.05
    """Largest pan of the camera, as a fraction of the short side. The pan moves background and objects."""
    speed: float = 0.6
    """Variation of the speed of the object's action (the verb) within a clip. The speed changes by a factor
    between e^-speed and e^speed."""
    tempo: float = 0.0
    """Variation of the duration of the object's action (the verb). The fraction of the clip that the
    action takes is between e^-tempo and 1. The object waits before and after the action."""
    activity: float = 0.0
    """Strength of other motion of the object, in addition to its action (the verb). For example, an object
    whose action is to move left also sways up and down, turns and grows, but it does not sway left and right.
    At 1, the object sways by up to 0.3 of the short side, turns by up to ±90°, and grows by up to e^±0.5."""
    distractors: int = 1
    """Number of other objects, which wander around and perform no action."""
    noise: float = 0.01
    """Standard deviation of the sensor noise, as a fraction of full brightness."""
    light: float = 0.05
    """Largest change of the brightness during a clip, as a fraction of the brightness."""
    facing: float = 1.0
    """Only for the turn verbs: variation of the object's direction halfway through a turn.
    The direction differs from straight up by at most this fraction of 180°."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0:
            raise UserError(f"difficulty settings must not be negative: {self}")


DEFAULT = Difficulty()
HARD = Difficulty(camera=0.3, speed=0.8, tempo=0.5, activity=0.4, distractors=2)
"""Default difficulty of `tanet synthesize`."""


def wander(times: ndarray, generator: Generator) -> ndarray:
    """Return a smooth random path [T] within ±1.

    The path is the sum of two slow sines of random phase, so its distribution is the same when reversed.
    """
    sines = [np.sin(generator.uniform(2, 6) * times + generator.uniform(0, 2 * np.pi)) for _ in range(2)]
    return 0.7 * sines[0] + 0.3 * sines[1]  # [T]


def progress(times: ndarray, dials: Difficulty, generator: Generator) -> ndarray:
    """Return the progress of the verb over time, [T], from 0 to 1.

    The progress is the integral of a random positive speed.
    """
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
    """Return the object's track for the first verb of a pair.

    The track lies within the centred square of the frame if it fits there.

    Args:
        verb: first verb of a pair.
        progress: progress of the verb over time, 0 to 1: [T].
        pan: position of the camera, x and y: [2, T].
        size: height and width of the frames.
        dials: difficulty of the videos.
        generator: source of random numbers.

    Returns:
        [6, T]: x, y, radius, angle, opacity and uncovered. In the shape's own axes, with its radius as the
        unit of length, only the part where x < uncovered is visible.
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
        # For speed ≤ 1, 8 evenly spaced frames are less than 45° apart, so the direction is unambiguous.
        angle = np.pi / 2 + dials.facing * (angle - np.pi) + np.radians(uniform(100, 140)) * (progress - 0.5)
        # The object turns about its rear, like the hand of a clock.
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
    """Return the object's motion besides its verb, [4, T]: motion along x, motion along y, growth, rotation.

    The component that the verb itself uses is 0, so that the motion of the verb stays unchanged. For
    example, an object that moves left does not sway left and right, but only up and down.
    """
    kept = {"move_left": 0, "move_up": 1, "approach": 2, "turn_left": 3}.get(verb)
    ways = activity * np.stack([wander(np.linspace(0, 1, frames), generator) for _ in range(4)])
    if kept is not None:
        ways[kept] = 0
    return ways


def distract(times: ndarray, pan: ndarray, size: tuple[int, int], generator: Generator) -> ndarray:
    """Return the track [6, T] of a smaller object that wanders around a fixed point of the scene."""
    (height, width), unit, uniform = size, min(size), generator.uniform
    x = uniform(0, width) + 0.03 * unit * wander(times, generator) - pan[0]
    y = uniform(0, height) + 0.03 * unit * wander(times, generator) - pan[1]
    return np.stack(np.broadcast_arrays(x, y, unit * uniform(0.09, 0.14), uniform(0, 2 * np.pi), 1, 2))


def _place(path: ndarray, low: float, high: float, generator: Generator) -> ndarray:
    """Shift a path to a random position within [low, high]. A longer path extends beyond both ends."""
    return path + generator.uniform(*sorted((low - path.min(), high - path.max())))
