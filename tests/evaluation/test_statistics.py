"""Intervals cover at their stated rate; pairing is by prompt."""

import numpy as np
import pytest

from fdfo.evaluation.statistics import bootstrap, paired_difference, per_prompt, win_rate


def test_interval_agrees_with_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    interval = bootstrap(values)
    half = 1.96 * 2.0 / np.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.07)


def test_interval_covers_the_truth_at_its_rate():
    draws = np.random.default_rng(1).normal(size=(300, 100))
    covered = [interval.low <= 0 <= interval.high for interval in map(bootstrap, draws)]
    assert 0.90 < np.mean(covered) < 0.98  # 0.95 expected, standard error 0.013


def test_failed_values_are_left_out_and_emptiness_is_nan():
    assert bootstrap([1.0, float("nan"), 3.0]).mean == 2.0
    assert bootstrap([1.0, float("nan"), 3.0]).n == 2
    assert np.isnan(bootstrap([float("nan")]).mean)


def test_bootstrap_is_deterministic():
    assert bootstrap([1.0, 2.0, 5.0]) == bootstrap([1.0, 2.0, 5.0])


def test_pairing_removes_the_spread_between_prompts():
    base = np.random.default_rng(0).normal(0, 100, 50)
    gain = paired_difference(base + 1.0, base)
    assert gain.low == pytest.approx(1.0)
    assert gain.high == pytest.approx(1.0)
    assert gain.excludes_zero


def test_win_rate_counts_ties_half():
    assert win_rate(np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.0, 2.0, 4.0, 0.0])) == 0.5


def test_images_of_a_prompt_are_averaged():
    assert per_prompt([1.0, 3.0, 5.0, float("nan")], 2)[0] == 2.0
    assert np.isnan(per_prompt([1.0, 3.0, 5.0, float("nan")], 2)[1])


def test_one_value_is_told_without_an_interval():
    assert str(bootstrap([2.0])) == "2"
    assert str(bootstrap([2.0, 2.0])) == "2 [2, 2]"
