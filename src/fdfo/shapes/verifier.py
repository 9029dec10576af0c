"""How well a picture shows its caption: a graded score in [0, 1] and a strict verdict.

Every object of the picture is found and described; wishes and objects are matched as well as possible. A match is a
product over shape, colour, size and place in which a wrong attribute leaves a quarter. The sum of the matches is
divided by the number of wishes or of objects, whichever is larger, and a wrong relation halves it.
`python -m fdfo.shapes.accuracy` measures it on true and on mismatched pictures.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from fdfo.shapes.grammar import find
from fdfo.shapes.render import Array, magnification_of
from fdfo.shapes.scene import PLACES, ZONES, Spec, Wish, relation_margin
from fdfo.shapes.segment import Found, Segmentation, segment

WRONG_ATTRIBUTE = 0.25
"""What a completely wrong attribute leaves of a match; positive, so that the other attributes still count."""
WRONG_RELATION = 0.5
RESIDUE_PER_OBJECT = 40.0
"""Pixels of residue that count as one object too many."""
STRICT = (0.5, 0.75, 0.5, 0.5)
"""What shape, colour, size and place must reach in a strict pass; objects of two colours must not."""
STRICT_RELATION = 0.5
STRICT_RESIDUE = 6.0

OVERLAP_ZERO, OVERLAP_FULL = 0.70, 0.88
OVERLAP_LEAD = 0.05
"""A shape fits no longer when another one overlaps better by this much."""
SIZE_LIMITS = {"small": (6.4, 5.4), "big": (5.6, 6.6)}
"""Radius in pixels at which a size word is completely wrong and from which on it is right."""
PLACE_FULL, PLACE_ZERO = 0.5, 2.5
"""Pixels outside the zone of a place phrase: right up to the first, wrong from the second on."""
RELATION_ZERO, RELATION_FULL = -3.0, 1.0
"""Pixels of `relation_margin`: wrong below the first, right above the second."""


@dataclass(frozen=True)
class Verdict:
    """`graded` in [0, 1]; `passed` when everything the caption says holds and nothing else is there."""

    graded: float
    passed: bool


def judge(image: Array, caption: str | Spec) -> Verdict | None:
    """Score one picture [3, 32 m, 32 m], any finite values, against a caption.

    None when it cannot be judged: the caption is not in the grammar or a pixel is not finite.
    Raises ValueError for a picture of another size.
    """
    magnification_of(image.shape)
    spec = find(caption) if isinstance(caption, str) else caption
    if spec is None or not np.isfinite(image).all():
        return None
    return judge_objects(segment(image.astype(np.float32, copy=False)), spec)


def judge_objects(found: Segmentation, spec: Spec) -> Verdict:
    """Score the objects of a picture against the meaning of a caption."""
    if not found.objects:
        return Verdict(0.0, False)
    fits = [[attribute_fits(wish, thing) for thing in found.objects] for wish in spec.wishes]
    matches = np.array([[_match(fit) for fit in row] for row in fits])  # [wishes, objects]
    rows, columns = linear_sum_assignment(matches, maximize=True)
    excess = max(len(spec.wishes), found.count) + found.residue / RESIDUE_PER_OBJECT
    relation = _relation_fit(spec, found, dict(zip(rows, columns, strict=True)))
    graded = matches[rows, columns].sum() / excess * (WRONG_RELATION + (1 - WRONG_RELATION) * relation)
    passed = (
        found.count == len(spec.wishes)
        and found.residue <= STRICT_RESIDUE
        and relation >= STRICT_RELATION
        and all(np.all(np.greater_equal(fits[i][j], STRICT)) for i, j in zip(rows, columns, strict=True))
    )
    return Verdict(float(graded), bool(passed))


def attribute_fits(wish: Wish, thing: Found) -> tuple[float, ...]:
    """How well an object has the shape, colour, size and place that are wished, each in [0, 1].

    Without a wish for the colour, any named colour is right; without one for size or place, all are.
    """
    overlap = thing.overlap[wish.shape]
    lead = max(thing.overlap.values()) - overlap
    shape = _ramp(overlap, OVERLAP_ZERO, OVERLAP_FULL) * _ramp(lead, OVERLAP_LEAD, 0)
    color = thing.color[wish.color] if wish.color else max(thing.color.values())
    size = _ramp(thing.radius[wish.shape], *SIZE_LIMITS[wish.size]) if wish.size else 1.0
    place = _ramp(_distance_to_place(wish.place, thing), PLACE_ZERO, PLACE_FULL) if wish.place else 1.0
    return shape, color, size, place


def _match(fits: tuple[float, ...]) -> float:
    return float(np.prod([WRONG_ATTRIBUTE + (1 - WRONG_ATTRIBUTE) * fit for fit in fits]))


def _relation_fit(spec: Spec, found: Segmentation, chosen: dict[int, int]) -> float:
    """1 without a relation; 0 when one of its two objects is missing."""
    if spec.relation is None:
        return 1.0
    if 0 not in chosen or 1 not in chosen:
        return 0.0
    first, second = found.objects[chosen[0]], found.objects[chosen[1]]
    margin = relation_margin(spec.relation, second.x - first.x, second.y - first.y)
    return _ramp(margin, RELATION_ZERO, RELATION_FULL)


def _distance_to_place(place: str, thing: Found) -> float:
    """Pixels by which the object's centre misses the zone of the place, in its worse coordinate."""
    misses = [
        max(ZONES[zone][0] - value, value - ZONES[zone][1], 0.0)
        for zone, value in zip(PLACES[place], (thing.x, thing.y), strict=True)
        if zone is not None
    ]
    return max(misses)


def _ramp(value: float, zero: float, full: float) -> float:
    """0 at `zero`, 1 at `full`, linear between them, constant outside."""
    return min(1.0, max(0.0, (value - zero) / (full - zero)))
