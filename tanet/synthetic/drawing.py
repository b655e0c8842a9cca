"""Drawing of the shapes and the textured background of synthetic videos.

Lengths are in pixels, y points down, and angles are counter-clockwise.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator


@dataclass(frozen=True)
class Shape:
    """Shape made of convex patches, which are painted in order. Coordinates are in units of its radius."""

    sides: ndarray  # [S, 3]: sides @ (x, y, 1) gives the distances of a point to the S sides
    patches: tuple[slice, ...]  # for each patch, its rows in `sides`
    colors: ndarray  # [patches, 3]
    rim: float  # grey value of the outline, 0 to 255
    stripes: tuple[float, float]  # angular frequency along x and phase of the stripes


def random_shape(generator: Generator) -> Shape:
    """Return a long striped body with a pale nose and a fin at one side.

    No rotation maps the body to itself.
    """
    uniform, hue, round_ = generator.uniform, generator.uniform(), 12  # 12 sides look round
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
    return Shape(np.concatenate(patches), slices, np.array(colors, np.float32), rim, stripes)


def _polygon(sides: int, center: tuple[float, float], axes: tuple[float, float]) -> ndarray:
    """Return the sides of a regular polygon with a corner at +x, stretched to the two half-axes `axes`."""
    normal = np.pi * (2 * np.arange(sides) + 1) / sides
    x, y = np.cos(normal) / axes[0], np.sin(normal) / axes[1]
    offset = -np.cos(np.pi / sides) - x * center[0] - y * center[1]
    return min(axes) * np.stack([x, y, offset], axis=1)  # [sides, 3]


def draw(frame: ndarray, grid: ndarray, shape: Shape, pose: ndarray) -> None:
    """Paint a shape into a frame, in place.

    Args:
        frame: float [3, H, W], 0 to 255.
        grid: homogeneous coordinates (x, y, 1) of the pixels: [3, H, W].
        shape: shape to paint.
        pose: x, y, radius, angle, opacity and uncovered. This is one column of the result of `tracks.act`.
    """
    x, y, radius, angle, opacity, uncovered = pose.tolist()
    reach = 1.2 * radius + 2  # includes the outline and the soft edge
    rows = slice(max(0, math.floor(y - reach)), max(0, math.ceil(y + reach)))
    columns = slice(max(0, math.floor(x - reach)), max(0, math.ceil(x + reach)))
    box = frame[:, rows, columns]
    cos, sin = math.cos(angle) / radius, math.sin(angle) / radius
    own = np.array([[cos, -sin, sin * y - cos * x], [-sin, -cos, sin * x + cos * y], [0, 0, 1]])
    planes = np.concatenate([shape.sides @ own, own[:1]]).astype(np.float32)
    # Use einsum, because `@` would start BLAS threads for every frame, which take more time than they save.
    # `lines` is [S + 1, h, w]: the distances to the S sides, and then x in the shape's own axes.
    lines = np.einsum("sk,khw->shw", planes, grid[:, rows, columns])
    depth = [np.maximum.reduce(lines[patch]) for patch in shape.patches]  # each [h, w], negative inside

    def inside(distance: ndarray) -> ndarray:  # 1 inside, 0 outside, with a soft edge of one pixel
        return np.clip(0.5 - radius * distance, 0, 1)

    paint = np.full_like(box, shape.rim)
    for distance, color in zip(depth, shape.colors, strict=True):
        paint += inside(distance) * (color[:, None, None] - paint)
    paint *= 1 + 0.15 * np.sin(shape.stripes[0] * lines[-1] + shape.stripes[1])
    box += opacity * inside(np.minimum.reduce(depth) - 0.07) * inside(lines[-1] - uncovered) * (paint - box)


def _color(hue: float, saturation: float, value: float) -> ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))  # [3]


def background(height: int, width: int, unit: int, generator: Generator) -> ndarray:
    """Return a textured background, float [3, H, W].

    The background shows patches of three muted colours, with finer mottling on top. Patches and mottling are
    smooth noise with four grain sizes, which are proportional to `unit` (in pixels).
    """

    def noise(cell: float) -> ndarray:
        # Interpolate random values on a grid with a Gaussian about one cell wide, along y and then along x.
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
