"""Random scenes that satisfy a caption, and whether a scene satisfies one."""

from itertools import permutations

import numpy as np

from fdfo.shapes.render import SQUARE_HALF_SIDE, TRIANGLE_CIRCUMRADIUS, signed_distance
from fdfo.shapes.scene import (
    COLORS,
    IMAGE_SIZE,
    PLACES,
    RADIUS_RANGE,
    SIZES,
    ZONES,
    Object,
    Scene,
    Spec,
    Wish,
    in_place,
    relation_margin,
)

GAP = 2.0
"""Smallest distance between two objects, in pixels."""
BORDER = 1.0
RELATION_MARGIN = 1.0
"""How clear a drawn relation is at least, see `relation_margin`."""
_LARGEST_RADIUS = {1: 8.0, 2: 7.0, 3: 6.0, 4: 5.2}
"""By number of objects, when no size is asked for."""
_MAX_ATTEMPTS = 10_000


def sample_scene(spec: Spec, rng: np.random.Generator, gap: float = GAP) -> Scene:
    """A random scene that satisfies `spec`, its objects in the order of the wishes and at least `gap` pixels apart.

    A negative `gap` lets objects overlap, for the bad pictures of pre-training.
    """
    colors = list(COLORS)
    names = [wish.color or colors[rng.integers(len(colors))] for wish in spec.wishes]
    for _ in range(_MAX_ATTEMPTS):
        objects = _place_objects(spec, names, rng, gap)
        if objects is not None:
            return Scene(objects=tuple(objects))
    raise AssertionError(f"no layout found for {spec}")


def satisfies(scene: Scene, spec: Spec) -> bool:
    """Whether the scene shows exactly what `spec` asks for, by its objects rather than by its pixels."""
    if sorted(thing.shape for thing in scene.objects) != sorted(wish.shape for wish in spec.wishes):
        return False
    return any(
        all(_fulfils(thing, wish) for thing, wish in zip(order, spec.wishes, strict=True))
        and (spec.relation is None or relation_margin(spec.relation, *_step(order[0], order[1])) > 0)
        for order in permutations(scene.objects)
    )


def _fulfils(thing: Object, wish: Wish) -> bool:
    return (
        thing.shape == wish.shape
        and wish.color in (None, thing.color)
        and (wish.size is None or SIZES[wish.size][0] <= thing.radius <= SIZES[wish.size][1])
        and (wish.place is None or in_place(wish.place, thing.x, thing.y))
    )


def _step(first: Object, second: Object) -> tuple[float, float]:
    return second.x - first.x, second.y - first.y


def _place_objects(spec: Spec, colors: list[str], rng: np.random.Generator, gap: float) -> list[Object] | None:
    objects: list[Object] = []
    largest = _LARGEST_RADIUS[len(spec.wishes)]
    for wish, color in zip(spec.wishes, colors, strict=True):
        for _ in range(20):
            thing = _draw(wish, color, largest, rng)
            related = len(objects) != 1 or _shows_relation(spec, objects[0], thing)
            if related and all(_are_apart(thing, other, gap) for other in objects):
                objects.append(thing)
                break
        else:
            return None
    return objects


def _shows_relation(spec: Spec, first: Object, second: Object) -> bool:
    return spec.relation is None or relation_margin(spec.relation, *_step(first, second)) >= RELATION_MARGIN


def _draw(wish: Wish, color: str, largest: float, rng: np.random.Generator) -> Object:
    low, high = SIZES[wish.size] if wish.size else (RADIUS_RANGE[0], min(RADIUS_RANGE[1], largest))
    radius = rng.uniform(low, high)
    left, right, up, down = _extents(wish.shape, radius)
    column, row = PLACES[wish.place] if wish.place else (None, None)
    return Object(
        shape=wish.shape,
        color=color,
        x=_draw_coordinate(left, right, column, rng),
        y=_draw_coordinate(up, down, row, rng),
        radius=radius,
    )


def _draw_coordinate(before: float, after: float, zone: int | None, rng: np.random.Generator) -> float:
    low, high = before + BORDER, IMAGE_SIZE - after - BORDER
    if zone is not None:
        low, high = max(low, ZONES[zone][0]), min(high, ZONES[zone][1])
    return rng.uniform(low, high)


def _extents(shape: str, radius: float) -> tuple[float, float, float, float]:
    """How far a shape reaches from its centre to the left, right, top and bottom, in pixels."""
    if shape == "square":
        half = SQUARE_HALF_SIDE * radius
        return half, half, half, half
    if shape == "triangle":
        side = TRIANGLE_CIRCUMRADIUS * radius
        return side * 3**0.5 / 2, side * 3**0.5 / 2, side, side / 2
    return radius, radius, radius, radius


def _are_apart(first: Object, second: Object, gap: float) -> bool:
    """Exact for far and near centres; between them the smallest sum of distances over the pixels decides."""
    distance = float(np.hypot(*_step(first, second)))
    if distance >= 1.23 * (first.radius + second.radius) + gap:
        return True
    if distance < 0.6 * (first.radius + second.radius) + gap:
        return False
    total = signed_distance(first.shape, first.x, first.y, first.radius)
    total = total + signed_distance(second.shape, second.x, second.y, second.radius)
    return bool(total.min() >= gap)
