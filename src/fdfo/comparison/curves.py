"""What a curve says between its points: straight lines, on which cost and every metric move together."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, nan

from fdfo.comparison.plan import TRAINING_SCORE, Axis
from fdfo.comparison.results import Point, Result

AXES: dict[Axis, str] = {
    "evaluations": "network evaluations",
    "images": "images scored in training",
    "seconds": "seconds of training",
}


def cost(point: Point, axis: Axis, trained_cost: float) -> float:
    """What training had cost until a point."""
    if axis == "evaluations":
        return point.forwards + trained_cost * point.trained
    return float(getattr(point, axis))


@dataclass(frozen=True)
class Place:
    """A place on a curve, between two points."""

    before: Point
    after: Point
    share: float
    """Of the way from the first to the second."""

    def of(self, first: float, second: float) -> float:
        """What has the values `first` and `second` at the two points."""
        return first + self.share * (second - first)


def first_place(result: Result, level: float) -> Place | None:
    """Where the training score first reaches a level; None where it never does."""
    first = result.curve[0]
    if first.values[TRAINING_SCORE] >= level:
        return Place(first, first, 0.0)
    for before, after in pairwise(result.curve):
        low, high = before.values[TRAINING_SCORE], after.values[TRAINING_SCORE]
        if high >= level:
            return Place(before, after, (level - low) / (high - low))
    return None


def cost_to_reach(result: Result, level: float, axis: Axis) -> float:
    """Cost at which the training score first reaches a level; infinite where it never does."""
    place = first_place(result, level)
    if place is None:
        return inf
    return place.of(*(cost(point, axis, result.trained_cost) for point in (place.before, place.after)))


def value_at(result: Result, level: float, metric: str) -> float:
    """A metric where the training score first reaches a level; NaN where it never does."""
    place = first_place(result, level)
    return nan if place is None else place.of(place.before.values[metric], place.after.values[metric])


def best(result: Result) -> float:
    """Highest training score of a curve."""
    return max(point.values[TRAINING_SCORE] for point in result.curve)


def final(result: Result, metric: str = TRAINING_SCORE) -> float:
    """A metric at the end; NaN where it was not measured."""
    return result.curve[-1].values.get(metric, nan)


def speed(ours: Result, theirs: Result, axis: Axis) -> float:
    """Cost at which `theirs` is at its best, over the cost at which `ours` gets there; 0 where it never does.

    NaN where `theirs` never rises above its start, so that there is nothing to reach.
    """
    level = best(theirs)
    if level == theirs.curve[0].values[TRAINING_SCORE]:
        return nan
    needed = cost_to_reach(ours, level, axis)
    if not isfinite(needed):
        return 0.0
    return cost_to_reach(theirs, level, axis) / needed if needed > 0 else inf
