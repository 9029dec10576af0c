"""Anti-aliased pictures of scenes from signed distances (numpy, no random state).

Lengths are in units of the scene, which is 32 wide; a picture has m x m pixels a unit (m is its magnification), so
H = W = 32 m. A signed distance is negative inside.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fdfo.shapes.scene import BACKGROUND, COLORS, IMAGE_SIZE, Object, Scene

Array = NDArray[np.float32]

SQUARE_HALF_SIDE = 0.86
"""In radii; chosen, as the two below, so that shapes of one radius look equally large."""
TRIANGLE_CIRCUMRADIUS = 1.22
CROSS_HALF_WIDTH = 0.34
COLOR_JITTER = 0.03

AREA_PER_SQUARED_RADIUS = {
    "circle": float(np.pi),
    "square": 4 * SQUARE_HALF_SIDE**2,
    "triangle": 0.75 * 3**0.5 * TRIANGLE_CIRCUMRADIUS**2,
    "cross": 8 * CROSS_HALF_WIDTH - 4 * CROSS_HALF_WIDTH**2,
}


@lru_cache
def pixel_centres(magnification: int) -> Array:
    """Coordinates of the pixels of a row: [W] float32, units."""
    return ((np.arange(IMAGE_SIZE * magnification) + 0.5) / magnification).astype(np.float32)


def signed_distance(shape: str, x: float, y: float, radius: float, magnification: int = 1) -> Array:
    """Signed distance of every pixel centre to a shape centred (by area) at (x, y): [H, W] float32, units."""
    axis = pixel_centres(magnification)
    dx = axis[None, :] - np.float32(x)
    dy = axis[:, None] - np.float32(y)
    if shape == "circle":
        return np.hypot(dx, dy) - np.float32(radius)
    ax = np.abs(dx)
    if shape == "square":
        return _box(ax, np.abs(dy), SQUARE_HALF_SIDE * radius, SQUARE_HALF_SIDE * radius)
    if shape == "cross":
        ay, arm = np.abs(dy), CROSS_HALF_WIDTH * radius
        return np.minimum(_box(ax, ay, radius, arm), _box(ax, ay, arm, radius))
    if shape == "triangle":
        inradius = np.float32(TRIANGLE_CIRCUMRADIUS * radius / 2)
        slanted = np.float32(3**0.5 / 2) * ax - np.float32(0.5) * dy
        return np.maximum(slanted, dy) - inradius
    raise AssertionError(shape)


def coverage(shape: str, x: float, y: float, radius: float, magnification: int = 1) -> Array:
    """Share of every pixel that the shape covers: [H, W] float32 in [0, 1]."""
    return np.clip(np.float32(0.5) - magnification * signed_distance(shape, x, y, radius, magnification), 0, 1)


def object_coverage(thing: Object, magnification: int = 1) -> Array:
    """`coverage` of an object."""
    return coverage(thing.shape, thing.x, thing.y, thing.radius, magnification)


def reduced(image: Array) -> Array:
    """A picture [3, 32 m, 32 m] at one pixel a unit, [3, 32, 32]: the mean of each square of m x m pixels."""
    magnification = magnification_of(image.shape)
    squares = image.reshape(3, IMAGE_SIZE, magnification, IMAGE_SIZE, magnification)
    return squares.mean((2, 4)) if magnification > 1 else image


def magnification_of(shape: tuple[int, ...]) -> int:
    """Magnification m of a picture of this shape. Raises ValueError unless it is [3, 32 m, 32 m]."""
    magnification = shape[-1] // IMAGE_SIZE
    if magnification < 1 or tuple(shape) != (3, IMAGE_SIZE * magnification, IMAGE_SIZE * magnification):
        raise ValueError(
            f"a picture of the shapes world is [3, {IMAGE_SIZE}, {IMAGE_SIZE}] or a whole multiple of that, "
            f"got {list(shape)}"
        )
    return magnification


def render(scene: Scene, rng: np.random.Generator | None = None, magnification: int = 1) -> Array:
    """The picture of a scene: [3, H, W] float32 RGB in [0, 1].

    With `rng`, the colour of every object is off its name by up to `COLOR_JITTER` a channel.
    """
    side = IMAGE_SIZE * magnification
    image = np.empty((3, side, side), np.float32)
    image[:] = np.asarray(BACKGROUND, np.float32)[:, None, None]
    for thing in scene.objects:
        color = np.asarray(COLORS[thing.color], np.float32)
        if rng is not None:
            color = color + rng.uniform(-COLOR_JITTER, COLOR_JITTER, 3).astype(np.float32)
        mask = object_coverage(thing, magnification)
        image += mask * (color[:, None, None] - image)
    return np.clip(image, 0, 1)


def _box(ax: Array, ay: Array, half_width: float, half_height: float) -> Array:
    qx = ax - np.float32(half_width)
    qy = ay - np.float32(half_height)
    return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0)
