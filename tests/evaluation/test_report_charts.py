"""The report's charts as geometry, and its numbers as text."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fdfo.evaluation.report import text
from fdfo.evaluation.report.chart import Point, Series, draw, placed, ticks
from fdfo.evaluation.statistics import Interval


def point(x, y, low=math.nan, high=math.nan):
    return Point(x, y, low, high, f"epoch {x}", str(y))


def test_a_chart_maps_values_linearly_and_breaks_at_gaps():
    chart = draw(
        "t", [Series("s", 1, [point(0, 0.0), point(1, 1.0), point(2, math.nan), point(3, 2.0), point(4, 4.0)])]
    )
    (line,) = chart.lines
    assert line.path.count("M") == 2 and line.path.count("L") == 2
    marks = [tuple(map(float, mark)) for mark in re.findall(r"M([\d.]+) ([\d.]+)h0", line.dots)]
    xs, ys = zip(*marks, strict=True)
    assert np.diff(xs) / np.diff([0, 1, 3, 4]) == pytest.approx(np.full(3, (xs[-1] - xs[0]) / 4), abs=0.02)
    assert np.diff(ys) / np.diff([0, 1, 2, 4]) == pytest.approx(np.full(3, (ys[-1] - ys[0]) / 4), abs=0.02)
    assert ys[0] > ys[-1]  # larger values lie higher
    for y, label in chart.y_ticks:
        assert y == pytest.approx(ys[0] + (ys[-1] - ys[0]) * float(label.replace("−", "-")) / 4, abs=0.02)
    assert line.last[1:] == ("epoch 4", "4.0")


def test_a_band_surrounds_its_line_and_a_single_point_has_a_whisker():
    chart = draw("t", [Series("s", 1, [point(0, 1.0, 0.5, 1.5), point(1, 2.0, 1.0, 3.0)])])
    assert chart.lines[0].band.endswith("Z") and not chart.lines[0].whiskers
    alone = draw("t", [Series("s", 1, [point(0, 1.0, 0.5, 1.5)])])
    assert alone.lines[0].whiskers and not alone.lines[0].path


def test_nothing_finite_is_no_chart():
    assert draw("t", [Series("s", 1, [point(0, math.nan)]), Series("s", 1, [])]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 0.4), (0.6981, 0.7004), (0, 51840), (1e-5, 3e-5), (0, 60)])
def test_ticks_are_round_few_and_inside(low, high):
    found = ticks(low, high, 5)
    values = [value for value, _ in found]
    assert 3 <= len(values) <= 9
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)
    step = values[1] - values[0]
    assert np.diff(values) == pytest.approx(np.full(len(values) - 1, step), rel=1e-6)
    assert float(f"{step:.0e}") == pytest.approx(step, rel=1e-6)
    assert len({label for _, label in found}) == len(found)


def test_numbers_read_well():
    assert text.with_bounds(Interval(0.8312, 0.7834, 0.8790, 192)) == "0.83 [0.78, 0.88]"
    assert text.with_bounds(Interval(21.5312, 21.4016, 21.6608, 192)) == "21.53 [21.40, 21.66]"
    assert text.with_bounds(Interval(math.nan, math.nan, math.nan, 0)) == text.NONE
    assert text.bounds(Interval(0.0187, 0.0003, 0.0371, 240), signed=True) == "[+0.0003, +0.0371]"
    assert [text.fixed(value, 2, signed=True) for value in (-0.0004, 0.0004, 0.0)] == ["−0.00", "+0.00", "0.00"]
    assert text.fixed(-0.0004, 2) == "0.00"
    assert text.plain_time("2026-11-29T10:02:11+01:00") == "2026-11-29 09:02 UTC"
    assert [text.duration(s) for s in (0.84, 41.2, 59.7, 220, 7500)] == [
        "0.8 s",
        "41 s",
        "1 min 00 s",
        "3 min 40 s",
        "2 h 05 min",
    ]
    assert [text.number(v) for v in (0, 1e-4, 12345, -0.5, 3e-9)] == ["0", "0.0001", "12,345", "−0.5", "3.000e−09"]
    assert text.short(51840, 4) == "51.84k" and text.short(3e6) == "3M"
    assert text.enumerate_words(["a", "b", "c"]) == "a, b and c"
    assert text.unbroken("4 [−9, 17] (2, 95%) (of all runs)").split(" ") == [
        "4",
        "[−9,\xa017]",
        "(2,\xa095%)",
        "(of",
        "all",
        "runs)",
    ]


@pytest.mark.parametrize("in_a_row", [2, 3])
def test_every_row_of_charts_is_full(in_a_row):
    chart = draw("t", [Series("s", 1, [point(0, 1.0)])])
    for count in range(1, 14):
        charts = [
            replace(chart, title=str(number), band=band) for number in range(count) for band in ("paired", "level")
        ]
        widths = [width for one, width in placed(charts, in_a_row) if one.band == "paired"]
        assert widths == [width for one, width in placed(charts, in_a_row) if one.band == "level"]
        room = 6
        for width in widths:
            room -= width
            assert room >= 0 and width in (2, 3, 6)
            room = room or 6
        assert room == 6
        if count > 1:
            assert 6 not in widths


def test_ticks_of_thousands_are_written_whole():
    assert [label for _, label in ticks(0, 45_000, 5)] == ["0", "10k", "20k", "30k", "40k"]
    assert [label for _, label in ticks(0, 450_000, 5)] == ["0", "100k", "200k", "300k", "400k"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0067379, 0.0067461, ["0.006738", "0.006740", "0.006742", "0.006744", "0.006746"]),
        (1e-5, 3e-5, ["1.0e−5", "1.5e−5", "2.0e−5", "2.5e−5", "3.0e−5"]),
        (-2e-7, 1e-7, ["−2.0e−7", "−1.5e−7", "−1.0e−7", "−5.0e−8", "0", "5.0e−8", "1.0e−7"]),
        (10_000, 10_004, ["10000", "10001", "10002", "10003", "10004"]),
    ],
    ids=str,
)
def test_labels_take_little_room(low, high, expected):
    assert [label for _, label in ticks(low, high, 5)] == expected
