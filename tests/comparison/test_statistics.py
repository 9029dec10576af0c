"""Intervals over seeds and prompts, medians and corrections, against closed forms, other implementations and truths."""

from itertools import chain, combinations
from math import inf, isnan, nan

import numpy as np
import pytest
from scipy.stats import t

from fdfo.comparison.statistics import (
    Estimate,
    holm,
    mean_estimate,
    median_estimate,
    resampled_prompts,
    upper_end_over_prompts,
)


def estimate(table):
    """Of numbers of seeds and prompts [S, P], whose means over prompts are what every seed says."""
    resampled = resampled_prompts(table.shape[1])
    return mean_estimate(table.mean(1), resampled @ table.T / resampled.sum(1, keepdims=True), table.shape[1])


def test_the_standard_error_is_the_closed_form_of_the_two_way_bootstrap():
    """Variance of a mean of a table whose rows and columns are drawn with replacement, n - 1 of n (Owen 2007, exact):
    row part / (S - 1) + column part / (P - 1) + rest / ((S - 1) (P - 1)), each a population variance."""
    rng = np.random.default_rng(0)
    table = 0.3 + 0.02 * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(1, 40)) + 0.1 * rng.normal(size=(5, 40))
    rows, columns = table.mean(1), table.mean(0)
    rest = table - rows[:, None] - columns + table.mean()
    variance = rows.var() / 4 + columns.var() / 39 + rest.var() / (4 * 39)
    found = estimate(table)
    assert found.value == pytest.approx(table.mean())
    assert found.error == pytest.approx(variance**0.5, rel=0.05)  # 2,000 resamplings: 1.6 % standard error


def test_without_noise_between_prompts_it_is_students_interval():
    seeds = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = estimate(np.repeat(seeds[:, None], 30, 1))
    half = 2.776445105 * np.sqrt(2.5 / 5)  # t of 4 degrees of freedom at 97.5 %, from a printed table
    assert found.freedom == pytest.approx(4)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3 - half, 3 + half), rel=0.05)
    assert (found.n, found.coverage) == (5, 0.95)


def test_prompts_alone_have_their_own_degrees_of_freedom():
    prompts = np.random.default_rng(0).normal(size=100)
    found = estimate(np.repeat(prompts[None], 5, 0))
    assert found.freedom == pytest.approx(99)
    assert found.high - found.value == pytest.approx(1.984 * prompts.std(ddof=1) / 10, rel=0.05)


@pytest.mark.parametrize(("seeds", "prompts", "rest"), [(0.03, 0.0, 0.0), (0.03, 0.3, 0.1), (0.005, 0.3, 0.3)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, prompts, rest):
    """Tables of five seeds and 60 prompts with a part of each; two errors of the count are allowed below 95 %."""
    rng, repeats, covered = np.random.default_rng(1), 400, 0
    for _ in range(repeats):
        table = seeds * rng.normal(size=(5, 1)) + prompts * rng.normal(size=(1, 60)) + rest * rng.normal(size=(5, 60))
        found = estimate(table)
        covered += found.low <= 0 <= found.high
    assert covered / repeats > 0.95 - 2 * np.sqrt(0.95 * 0.05 / repeats)


def test_one_seed_has_no_interval_and_a_missing_one_is_not_left_out():
    alone = estimate(np.array([[1.0, 3.0]]))
    assert (alone.value, alone.n, alone.has_interval, alone.p_value(0.0)) == (2.0, 1, False, 1.0)
    lost = mean_estimate(np.array([1.0, nan]), np.ones((2000, 2)), 4)
    assert isnan(lost.value) and lost.n == 2 and lost.p_value(0.0) == 1.0
    assert estimate(np.zeros((0, 3))).n == 0


def test_the_p_value_is_that_of_the_interval():
    table = np.random.default_rng(3).normal(0.5, 0.3, size=(5, 50))
    found = estimate(table)
    assert found.p_value(found.low) == pytest.approx(0.05)
    assert found.p_value(found.value) == pytest.approx(1.0)
    expected = 2 * (1 - t.cdf(abs(found.value - 0.1) / found.error, found.freedom))
    assert found.p_value(0.1) == pytest.approx(expected, abs=1e-12)


def test_a_ratio_is_judged_on_its_logarithm():
    log = estimate(np.log(np.array([[2.0] * 10, [8.0] * 10, [4.0] * 10])))
    found = log.exponential()
    assert found.value == pytest.approx(4.0)
    assert found.values == pytest.approx((2.0, 8.0, 4.0))
    assert found.p_value(1.0) == pytest.approx(log.p_value(0.0))
    assert found.p_value(found.high) == pytest.approx(0.05)


# ---- medians ----


def median(values):
    values = np.asarray(values, dtype=float)
    return median_estimate(values, np.repeat(values[None], 2000, 0))


@pytest.mark.parametrize(("count", "coverage"), [(2, 0.5), (3, 0.75), (5, 0.9375), (8, 0.95)])
def test_the_coverage_of_a_median_is_told(count, coverage):
    assert median(range(count)).coverage == pytest.approx(coverage)


def test_the_interval_of_a_median_reaches_to_the_extremes_of_five():
    found = median([3.0, 1.0, 5.0, 2.0, 4.0])
    assert (found.value, found.low, found.high, found.n) == (3.0, 1.0, 5.0, 5)


def test_never_is_a_value_of_the_median():
    assert median([1.0, inf, inf]).value == inf
    found = median([1.0, 2.0, inf])
    assert (found.value, found.low, found.high) == (2.0, 1.0, inf)
    assert median([1.0, 2.0, inf, inf]).value == inf
    assert isnan(median([1.0, nan]).value)


def test_without_a_standard_error_the_signs_decide():
    """All of five above: 2 / 2^5; four of five: 2 (5 + 1) / 2^5."""
    assert median([2.0, 3.0, 4.0, 5.0, inf]).p_value(1.0) == pytest.approx(2 / 32)
    assert median([0.5, 3.0, 4.0, 5.0, inf]).p_value(1.0) == pytest.approx(12 / 32)


# ---- corrections ----


def closed_testing(p_values):
    """Holm's correction as the closure of Bonferroni's test: the worst of all families that hold a hypothesis."""
    every = range(len(p_values))
    families = list(chain.from_iterable(combinations(every, size) for size in range(1, len(p_values) + 1)))
    return [max(min(1.0, len(f) * min(p_values[k] for k in f)) for f in families if index in f) for index in every]


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9], [0.05], [0.0, 0.0, 0.5], []])
def test_holm_is_the_closure_of_bonferroni(p_values):
    assert holm(p_values) == pytest.approx(closed_testing(p_values))


def test_the_noise_of_a_start_is_the_upper_end_over_its_prompts():
    values = np.array([0.1, 0.3, 0.5, 0.7, nan])
    half = 3.182446305 * np.std([0.1, 0.3, 0.5, 0.7], ddof=1) / 2  # t of 3 degrees of freedom, from a printed table
    assert upper_end_over_prompts(values) == pytest.approx(0.4 + half)


def test_estimates_are_the_same_every_time():
    table = np.random.default_rng(5).normal(size=(5, 20))
    assert estimate(table) == estimate(table)
    assert isinstance(estimate(table), Estimate)
