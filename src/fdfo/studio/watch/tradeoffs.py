"""Two scores of all evaluations of some runs as points, and which of them no other one beats in both (Pareto front)."""

from collections.abc import Sequence
from dataclasses import dataclass

from fdfo.evaluation.report.chart import ticks
from fdfo.evaluation.report.curves import color_of_run
from fdfo.evaluation.report.results import metrics
from fdfo.evaluation.report.text import number
from fdfo.studio.watch.parts import Seen

MARGIN = 0.06
"""Of the span, around the points."""


@dataclass(frozen=True)
class Point:
    """An evaluation of a run."""

    run: str
    key: str
    epoch: int
    color: int
    x: float
    y: float
    left: float
    """Per cent of the plot."""
    top: float
    is_best: bool
    """Whether no other evaluation is as good in both scores and better in one."""

    @property
    def text(self) -> str:
        """For who does not see it."""
        return f"{self.run}, epoch {self.epoch}: {number(self.x)} and {number(self.y)}"


@dataclass(frozen=True)
class TradeOff:
    """The plot of two scores."""

    x_name: str
    y_name: str
    legend: list[tuple[str, int]]
    """Runs that have both, with their colours."""
    points: list[Point]
    front: str
    """Path of the front in a box of 100 x 100."""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def scores_of(runs: Sequence[Seen]) -> list[str]:
    """Labels of the scores that some run has, and diversity."""
    return list(dict.fromkeys(label for one in runs for label in metrics(one.record)))


def trade_off(runs: Sequence[Seen], x_name: str, y_name: str) -> TradeOff:
    """All evaluations that have both scores."""
    found = [
        (one, index, evaluation.epoch, *(evaluation.interval(names[label]).mean for label in (x_name, y_name)))
        for index, one in enumerate(runs)
        for names in [metrics(one.record)]
        if {x_name, y_name} <= names.keys()
        for evaluation in one.record.evaluations
    ]
    found = [row for row in found if row[3] == row[3] and row[4] == row[4]]
    if not found:
        return TradeOff(x_name, y_name, [], [], "", [], [])
    places = [(x, y) for *_, x, y in found]
    (x_low, x_high), (y_low, y_high) = (_span([place[axis] for place in places]) for axis in (0, 1))
    best = set(front(places))
    points = [
        Point(
            run=one.record.label,
            key=one.key,
            epoch=epoch,
            color=color_of_run(index),
            x=x,
            y=y,
            left=100 * (x - x_low) / (x_high - x_low),
            top=100 * (y_high - y) / (y_high - y_low),
            is_best=place in best,
        )
        for place, (one, index, epoch, x, y) in enumerate(found)
    ]
    line = sorted((point for point in points if point.is_best), key=lambda point: point.left)
    return TradeOff(
        x_name,
        y_name,
        list(dict.fromkeys((point.run, point.color) for point in points)),
        points,
        "".join(f"{'L' if i else 'M'}{point.left:.2f} {point.top:.2f}" for i, point in enumerate(line)),
        [(100 * (value - x_low) / (x_high - x_low), text) for value, text in ticks(x_low, x_high, 5)],
        [(100 * (y_high - value) / (y_high - y_low), text) for value, text in ticks(y_low, y_high, 5)],
    )


def front(places: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of those that no other place is at least as high as in both, and higher in one."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] >= other[0] and one[1] >= other[1] and one != other

    return [i for i, place in enumerate(places) if not any(beats(other, place) for other in places)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * MARGIN or max(abs(high), 1.0) * MARGIN
    return low - room, high + room
