"""Intervals over seeds, places on curves and verdicts, against numbers worked out by hand."""

from math import inf, isnan, nan

import numpy as np
import pytest

from fdfo.comparison.curves import cost_to_reach, speed, value_at
from fdfo.comparison.statistics import mean_over_seeds, median_over_seeds
from fdfo.comparison.verdicts import equal_score_difference, verdict
from fdfo.evaluation.statistics import Interval
from tests.comparison.plans import result


def test_the_mean_has_students_interval():
    found = mean_over_seeds([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * np.sqrt(2.5 / 5)  # t of 4 degrees of freedom at 97.5 %, from a printed table
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3 - half, 3 + half))


def test_the_interval_of_the_mean_covers_it_at_its_rate_from_five_seeds():
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    covered = np.mean([found.low <= 0 <= found.high for found in map(mean_over_seeds, draws.tolist())])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(("count", "rank"), [(5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)])
def test_the_median_lies_between_order_statistics(count, rank):
    """Ranks from a printed table of distribution-free intervals of the median."""
    found = median_over_seeds([float(i) for i in range(count)])
    assert (found.mean, found.low, found.high) == ((count - 1) / 2, rank, count - 1 - rank)


def test_never_is_a_value_of_the_median():
    assert median_over_seeds([1.0, inf, inf]).mean == inf
    assert median_over_seeds([1.0, 2.0, inf]) == Interval(2.0, 1.0, inf, 3)
    assert median_over_seeds([nan, 2.0]).n == 1
    assert isnan(median_over_seeds([]).mean)


def test_one_value_has_no_width_and_none_is_nan():
    assert mean_over_seeds([2.0]) == Interval(2.0, 2.0, 2.0, 1)
    assert isnan(mean_over_seeds([nan]).mean)


def test_cost_lies_on_the_line_between_evaluations():
    run = result("a", [0.2, 0.4, 0.3, 0.8])
    assert cost_to_reach(run, 0.3, "images") == pytest.approx(50)
    assert cost_to_reach(run, 0.3, "evaluations") == pytest.approx(250)  # (200 + 3 x 100) / 2
    assert cost_to_reach(run, 0.3, "seconds") == pytest.approx(5)
    assert cost_to_reach(run, 0.6, "images") == pytest.approx(260)
    assert cost_to_reach(run, 0.1, "images") == 0
    assert cost_to_reach(run, 0.9, "images") == inf
    assert value_at(run, 0.6, "diversity") == pytest.approx(0.4)
    assert isnan(value_at(run, 0.9, "diversity"))


def test_speed_compares_costs_at_the_other_ones_best():
    slow = result("slow", [0.2, 0.3, 0.4, 0.35])
    assert speed(result("fast", [0.2, 0.6]), slow, "images") == pytest.approx(200 / 50)
    assert speed(result("never", [0.2, 0.3]), slow, "images") == 0
    assert isnan(speed(slow, result("never rises", [0.2, 0.1]), "images"))


def test_equal_score_pairs_by_seed_at_the_lower_end():
    pairs = [
        (result("a", [0.2, 0.6], seed), result("b", [0.2, 0.4], seed, unseen=[0.1, 0.2 + gap]))
        for seed, gap in enumerate([0.0, 0.02])
    ]
    level, gap = equal_score_difference(pairs, "shapes-verifier")
    assert level == pytest.approx(0.4)
    assert gap.mean == pytest.approx((0.0 - 0.02) / 2)  # a: 0.4 / 2 at 0.4; b: 0.2 and 0.22
    assert gap.n == 2


@pytest.mark.parametrize(
    ("low", "high", "claimed", "neutral", "expected"),
    [
        (0.1, 0.3, 0.0, 0.0, "confirmed"),
        (-0.1, 0.3, 0.0, 0.0, "open"),
        (-0.3, -0.1, 0.0, 0.0, "refuted"),
        (11, 15, 10, 1, "confirmed"),
        (5, 15, 10, 1, "weakened"),
        (2, 5, 10, 1, "weakened"),
        (0.5, 5, 10, 1, "refuted"),
        (0.5, 15, 10, 1, "open"),
        (-0.005, 0.02, -0.01, 0.0, "confirmed"),  # loses no more than 0.01
        (-0.02, 0.02, -0.01, 0.0, "open"),
        (-0.04, -0.02, -0.01, 0.0, "refuted"),
    ],
)
def test_verdicts(low, high, claimed, neutral, expected):
    assert verdict(Interval((low + high) / 2, low, high, 5), claimed, neutral) == expected


def test_one_seed_decides_nothing():
    assert verdict(Interval(1.0, 1.0, 1.0, 1), 0.0, 0.0) == "open"
