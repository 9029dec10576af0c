"""The vocabulary of the shapes world: what an object, a wish and a scene are.

Coordinates are in pixels of a 32x32 picture, x to the right and y downwards; pixel centres lie at half integers.
"""

from dataclasses import dataclass

IMAGE_SIZE = 32

SHAPES = ("circle", "square", "triangle", "cross")

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.14, 0.14),
    "orange": (0.96, 0.54, 0.08),
    "yellow": (0.96, 0.90, 0.20),
    "green": (0.18, 0.70, 0.24),
    "cyan": (0.22, 0.82, 0.90),
    "blue": (0.18, 0.34, 0.94),
    "purple": (0.64, 0.24, 0.84),
    "white": (0.94, 0.94, 0.94),
}
BACKGROUND = (0.08, 0.08, 0.10)

SIZES: dict[str, tuple[float, float]] = {"small": (4.0, 5.0), "big": (7.0, 8.5)}
"""Radii in pixels that are drawn for a size word; nothing between 5 and 7 is ever drawn for one."""
RADIUS_RANGE = (4.0, 8.0)
"""Radii drawn when the caption says nothing about the size and there is room."""

PLACES: dict[str, tuple[int | None, int | None]] = {
    "on the left": (0, None),
    "on the right": (2, None),
    "at the top": (None, 0),
    "at the bottom": (None, 2),
    "in the center": (1, 1),
    "at the top left": (0, 0),
    "at the top right": (2, 0),
    "at the bottom left": (0, 2),
    "at the bottom right": (2, 2),
}
"""Column and row (0 low, 1 middle, 2 high coordinate; None = anywhere) that a place phrase asks for."""
ZONES = ((0.0, 12.0), (14.0, 18.0), (20.0, 32.0))
"""Coordinates drawn for the centre of an object in each column or row."""

RELATIONS: dict[str, tuple[int, int]] = {"left of": (1, 0), "right of": (-1, 0), "above": (0, 1), "below": (0, -1)}
"""Unit step from the first object of a caption to the second."""

CATEGORIES = ("single", "two", "counting", "colors", "position", "attribute")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a caption asks of one object; None leaves the choice open."""

    shape: str
    color: str | None = None
    size: str | None = None
    place: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The meaning of a caption: exactly these objects, the first two in `relation` if there is one."""

    category: str
    wishes: tuple[Wish, ...]
    relation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Object:
    """One drawn object; `radius` is half the width of the circle and the cross, in pixels."""

    shape: str
    color: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The objects of one picture."""

    objects: tuple[Object, ...]


def in_place(place: str, x: float, y: float, tolerance: float = 1.0) -> bool:
    """Whether the point (x, y), in pixels, lies where `place` says, give or take `tolerance` pixels."""
    column, row = PLACES[place]
    return all(
        zone is None or ZONES[zone][0] - tolerance <= value <= ZONES[zone][1] + tolerance
        for zone, value in ((column, x), (row, y))
    )


def relation_margin(relation: str, dx: float, dy: float) -> float:
    """How clearly the step (dx, dy) from the first object to the second shows `relation`, in pixels.

    Positive when the asked direction is the larger one: "left of" needs dx > |dy|.
    """
    ux, uy = RELATIONS[relation]
    return (dx * ux + dy * uy) - abs(dx * uy - dy * ux)
