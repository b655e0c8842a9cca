"""Rendering of one synthetic clip. tracks.py computes where the objects are, and drawing.py draws them."""

import math

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from tanet.errors import UserError
from tanet.synthetic.drawing import background, draw, random_shape
from tanet.synthetic.tracks import DEFAULT, PAIRS, VERBS, Difficulty, act, distract, progress, wander


def render(
    verb: str,
    *,
    frames: int = 32,
    height: int = 96,
    width: int = 128,
    difficulty: Difficulty = DEFAULT,
    generator: Generator,
) -> ndarray:
    """Render one clip, uint8 [T, H, W, 3].

    For the same seed, all verbs get the same scene, because the scene's random numbers are drawn before the
    random numbers of the verb.

    Raises:
        UserError: the verb is unknown, there are fewer than 2 frames, or a side is below 32 pixels.
    """
    if verb not in VERBS:
        raise UserError(f"unknown verb {verb!r}; known: {', '.join(VERBS)}")
    if frames < 2 or min(height, width) < 32:
        raise UserError(f"need at least 2 frames, each at least 32 x 32, got {frames} of {height} x {width}")
    forward, backward = next(pair for pair in PAIRS if verb in pair)
    times, size, unit = np.linspace(0, 1, frames), (height, width), min(height, width)
    # Pan background and objects by whole pixels, so that the background needs no resampling.
    pan = np.rint(difficulty.camera * unit * np.stack([wander(times, generator) for _ in "xy"]))  # [2, T]
    light = 1 + difficulty.light * wander(times, generator)
    margin = math.ceil(difficulty.camera * unit)
    canvas = background(height + 2 * margin, width + 2 * margin, unit, generator)
    left, top = (margin + pan).astype(int)
    tracks = [distract(times, pan, size, generator) for _ in range(difficulty.distractors)]
    cast = [(random_shape(generator), track) for track in tracks]
    shape, come = random_shape(generator), progress(times, difficulty, generator)
    cast.append((shape, act(forward, come, pan, size, difficulty, generator)))

    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones(size)]).astype(np.float32)
    clip = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        frame = canvas[:, top[t] : top[t] + height, left[t] : left[t] + width].copy()  # [3, H, W]
        for shape, track in cast:
            draw(frame, grid, shape, track[:, t])
        frame *= np.float32(light[t])
        # Uniform noise takes a fifth of the time of normal noise.
        # The factor √12 gives the uniform noise the standard deviation `difficulty.noise`.
        # The three colours of a pixel get the same noise.
        frame += np.float32(255 * 12**0.5 * difficulty.noise) * (generator.random(size, np.float32) - 0.5)
        clip[t] = np.clip(np.rint(frame), 0, 255).transpose(1, 2, 0)
    return clip[::-1] if verb == backward else clip
