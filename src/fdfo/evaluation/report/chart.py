"""Line charts as geometry for inline SVG: pure, exact, and styled by the page.

A chart is drawn in a box of 100 x 100 that the page stretches (lines keep their width, the page sets the labels as
text), so that it fits any screen, follows the colour scheme and can be read point by point. This is why it is not a
matplotlib figure, besides the time and the global settings that one takes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, TypeVar

from fdfo.evaluation.report.text import MINUS, short

MAX_DOTS = 30
"""Longer series are drawn without dots, and those beside them."""


@dataclass(frozen=True)
class Point:
    """A value at x with an optional band; a NaN y is a gap."""

    x: float
    y: float
    low: float
    high: float
    label: str
    """Name of x, for example "epoch 20"."""
    text: str
    """The value as text."""


@dataclass(frozen=True)
class Series:
    """One curve."""

    label: str
    color: int
    """Number of the page's colour and dash."""
    points: Sequence[Point]


@dataclass(frozen=True)
class Line:
    """A drawn series: SVG paths, and (x in percent, name of x, value) of every point."""

    label: str
    color: int
    path: str
    dots: str
    band: str
    whiskers: str
    last: tuple[float, str, str]
    readings: list[tuple[float, str, str]]


@dataclass(frozen=True)
class Reference:
    """A horizontal line with a name."""

    y: float
    label: str


class Titled(Protocol):
    """What has a place on the page."""

    @property
    def title(self) -> str: ...


@dataclass(frozen=True)
class Chart:
    """Everything the page needs to draw a chart; ticks and references are (percent, label)."""

    title: str
    badge: str
    note: str
    x_name: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    references: list[tuple[float, str]]
    band: str = ""
    """Of charts that differ in what their bands say, which one this is."""

    @property
    def description(self) -> str:
        """The chart in words."""
        ends = [f"{line.label}: {line.readings[0][2]} at {line.readings[0][1]}" for line in self.lines]
        ends = [
            end + (f", {line.last[2]} at {line.last[1]}" if len(line.readings) > 1 else "")
            for end, line in zip(ends, self.lines, strict=True)
        ]
        return f"{self.title}. {'; '.join(ends)}"


Placeable = TypeVar("Placeable", bound=Titled)


def placed(things: Sequence[Placeable], in_a_row: Literal[2, 3] = 2) -> list[tuple[Placeable, int]]:
    """Charts or tables with their width in sixths of the page, so that every row is full: rows of two, and of three.

    Those of the same title, of which the page shows one at a time, have one place.
    """
    titles = list(dict.fromkeys(thing.title for thing in things))
    count = len(titles)
    if count == 1:
        widths = [6]
    elif in_a_row == 2:
        widths = [3] * (count - 3) + [2] * 3 if count % 2 else [3] * count
    else:
        in_pairs = {0: 0, 1: 4, 2: 2}[count % 3]
        widths = [2] * (count - in_pairs) + [3] * in_pairs
    return [(thing, widths[titles.index(thing.title)]) for thing in things]


def draw(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str = "epoch",
    badge: str = "",
    note: str = "",
    from_zero: bool = False,
    references: Sequence[Reference] = (),
    band: str = "",
) -> Chart | None:
    """The chart of some series; None where there is no finite value."""
    series = [one for one in series if any(math.isfinite(point.y) for point in one.points)]
    if not series:
        return None
    points = [point for one in series for point in one.points if math.isfinite(point.y)]
    references = [line for line in references if math.isfinite(line.y)]
    values = [value for p in points for value in (p.y, p.low, p.high) if math.isfinite(value)]
    low, high = _span([*values, *(line.y for line in references)], from_zero)
    left, right = min(point.x for point in points), max(point.x for point in points)
    if left == right:
        right = left + 1
    x_scale, y_scale = _Scale(left, right, 1.5, 98.5), _Scale(low, high, 100.0, 0.0)
    whole = x_name == "epoch"
    has_dots = max(len(one.points) for one in series) <= MAX_DOTS
    return Chart(
        title=title,
        badge=badge,
        note=note,
        x_name=x_name,
        lines=[_line(one, x_scale, y_scale, has_dots) for one in series],
        x_ticks=[(x_scale(x), label) for x, label in ticks(left, right, 6, whole=whole)],
        y_ticks=[(y_scale(y), label) for y, label in ticks(low, high, 5)],
        references=[(y_scale(line.y), line.label) for line in references],
        band=band,
    )


class _Scale:
    """Values to percent of the box, rounded to a hundredth."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self.low, self.factor, self.start = low, (end - start) / (high - low), start

    def __call__(self, value: float) -> float:
        return round(self.start + self.factor * (value - self.low), 2)


def _span(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """A range with some air around the values."""
    low, high = min(values), max(values)
    if from_zero:
        low = min(0.0, low)
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low if from_zero and low == 0 else low - air, high + air


def ticks(low: float, high: float, wanted: int, whole: bool = False) -> list[tuple[float, str]]:
    """About `wanted` round numbers between low and high, with labels of one format: the one that takes less room."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((power * factor for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    step = max(step, 1.0) if whole else step
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    exponent = math.floor(math.log10(step) + 1e-9)
    values = [i * step for i in numbers]
    largest = max(map(abs, values), default=0.0)
    places = max(0, -exponent)
    labels = [f"{value:.{places}f}".replace("-", MINUS) for value in values]
    if largest >= 10_000 or exponent < -5:
        digits = max(1, math.floor(math.log10(largest or step)) - exponent + 1)
        labels = min(labels, [short(value, digits) for value in values], key=widest)
    return list(zip(values, labels, strict=True))


def widest(labels: Sequence[str]) -> int:
    """Characters of the longest label."""
    return max(map(len, labels), default=0)


def _line(series: Series, x_scale: _Scale, y_scale: _Scale, has_dots: bool) -> Line:
    drawn = [(x_scale(p.x), p) for p in series.points if math.isfinite(p.y)]
    readings = [(x, point.label, point.text) for x, point in drawn]
    paths, bands, whiskers = [], [], []
    for segment in _segments(series.points):
        marks = [(x_scale(p.x), y_scale(p.y)) for p in segment]
        paths.append("M" + "L".join(f"{x:g} {y:g}" for x, y in marks))
        edges = [(x_scale(p.x), y_scale(p.low), y_scale(p.high)) for p in segment if math.isfinite(p.low + p.high)]
        if len(edges) > 1 and len(edges) == len(segment):
            around = [(x, high) for x, _, high in edges] + [(x, low) for x, low, _ in reversed(edges)]
            bands.append("M" + "L".join(f"{x:g} {y:g}" for x, y in around) + "Z")
        else:
            whiskers += [f"M{x:g} {low:g}V{high:g}" for x, low, high in edges]
    # A line of no length with round ends is a dot that stays round however the box is stretched.
    dots = "".join(f"M{x:g} {y_scale(p.y):g}h0" for x, p in drawn) if has_dots else ""
    return Line(
        label=series.label,
        color=series.color,
        path="".join(path for path in paths if "L" in path),
        dots=dots,
        band="".join(bands),
        whiskers="".join(whiskers),
        last=readings[-1],
        readings=readings,
    )


def _segments(points: Sequence[Point]) -> list[list[Point]]:
    """Runs of finite points between gaps."""
    gaps = [-1, *(i for i, point in enumerate(points) if not math.isfinite(point.y)), len(points)]
    return [list(points[a + 1 : b]) for a, b in pairwise(gaps) if b > a + 1]
