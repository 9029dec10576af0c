"""Two scores of all evaluations of some runs as points, and which of them no other one beats in both (Pareto front)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from fdfo.evaluation.report.chart import ticks, widest
from fdfo.evaluation.report.curves import color_of_run
from fdfo.evaluation.report.decimals import Decimals
from fdfo.evaluation.report.record import RunRecord
from fdfo.evaluation.report.results import metrics
from fdfo.evaluation.report.text import fixed

PLOTTED = 3
"""Scores of a run that are plotted against each other."""

SHORT = 6
"""Longest labels, in characters, of which five stand side by side on a phone."""
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
    x_text: str
    y_text: str
    left: float
    """Per cent of the plot."""
    top: float
    is_best: bool
    """Whether no other evaluation is as good in both scores and better in one."""

    @property
    def text(self) -> str:
        """For who does not see it."""
        return f"{self.run}, epoch {self.epoch}: {self.x_text} and {self.y_text}"


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


@dataclass(frozen=True)
class TradeOffs:
    """Of one run with several scores."""

    names: list[str]
    """Labels of the scores that are weighed: those of the sum, or else the trained and the unseen ones."""
    best: list[int]
    """Epochs of the evaluations that no other one is at least as good as in each of them, and better in one."""
    evaluations: int
    plots: list[TradeOff]


def trade_offs(record: RunRecord, decimals: Decimals) -> TradeOffs | None:
    """Of a run; None with a single score, or before there are two evaluations to weigh."""
    parts = [score for score in record.scores if score.role == "part"]
    weighed = parts if len(parts) > 1 else [score for score in record.scores if score.role != "part"]
    judged = [past for past in record.evaluations if {score.key for score in weighed} <= {*past.metrics}]
    means = [tuple(past.interval(score.key).mean for score in weighed) for past in judged]
    known = [(past.epoch, place) for past, place in zip(judged, means, strict=True) if not any(x != x for x in place)]
    if len(weighed) < 2 or len(known) < 2:
        return None
    names = [score.label for score in weighed]
    return TradeOffs(
        names=names,
        best=[known[i][0] for i in front([place for _, place in known])],
        evaluations=len(known),
        plots=[trade_off([record], [""], *pair, decimals) for pair in combinations(names[:PLOTTED], 2)],
    )


def scores_of(records: Sequence[RunRecord]) -> list[str]:
    """Labels of the scores that some run has, and diversity; those that most runs have come first."""
    counts = Counter(label for record in records for label in metrics(record))
    return [label for label, _ in counts.most_common()]


def trade_off(
    records: Sequence[RunRecord], keys: Sequence[str], x_name: str, y_name: str, decimals: Decimals
) -> TradeOff:
    """All evaluations that have both scores, of runs with their keys."""
    found = [
        (record, index, evaluation.epoch, *(evaluation.interval(names[label]).mean for label in (x_name, y_name)))
        for index, record in enumerate(records)
        for names in [metrics(record)]
        if {x_name, y_name} <= names.keys()
        for evaluation in record.evaluations
        if {names[x_name], names[y_name]} <= {*evaluation.metrics}
    ]
    found = [row for row in found if row[3] == row[3] and row[4] == row[4]]
    if not found:
        return TradeOff(x_name, y_name, [], [], "", [], [])
    places = [(x, y) for *_, x, y in found]
    (x_low, x_high), (y_low, y_high) = (_span([place[axis] for place in places]) for axis in (0, 1))
    best = set(front(places))
    points = [
        Point(
            run=record.label,
            key=keys[index],
            epoch=epoch,
            color=color_of_run(index),
            x=x,
            y=y,
            x_text=fixed(x, decimals[x_name]),
            y_text=fixed(y, decimals[y_name]),
            left=100 * (x - x_low) / (x_high - x_low),
            top=100 * (y_high - y) / (y_high - y_low),
            is_best=place in best,
        )
        for place, (record, index, epoch, x, y) in enumerate(found)
    ]
    line = sorted((point for point in points if point.is_best), key=lambda point: point.left)
    x_ticks = ticks(x_low, x_high, 5)
    if widest([label for _, label in x_ticks]) > SHORT:
        x_ticks = ticks(x_low, x_high, 2)
    return TradeOff(
        x_name,
        y_name,
        list(dict.fromkeys((point.run, point.color) for point in points)),
        points,
        "".join(f"{'L' if i else 'M'}{point.left:.2f} {point.top:.2f}" for i, point in enumerate(line)),
        [(100 * (value - x_low) / (x_high - x_low), text) for value, text in x_ticks],
        [(100 * (y_high - value) / (y_high - y_low), text) for value, text in ticks(y_low, y_high, 5)],
    )


def front(places: Sequence[tuple[float, ...]]) -> list[int]:
    """Numbers of those that no other place is at least as high as in everything, and higher in something."""

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(mine >= theirs for mine, theirs in zip(one, other, strict=True))

    return [i for i, place in enumerate(places) if not any(beats(other, place) for other in places)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * MARGIN or max(abs(high), 1.0) * MARGIN
    return low - room, high + room
