"""Places on curves, and what two cells say about each other, against numbers worked out by hand."""

from math import inf, isnan, nan

import numpy as np
import pytest

from fdfo.comparison.curves import NEVER, Curves, cost_to_reach, first_reaching, until, value_at
from fdfo.comparison.effects import (
    above_guidance,
    at_equal_score,
    difference,
    level_at_end,
    level_at_points,
    noise_of_start,
    raw_at_end,
    raw_difference,
    reach,
    speed,
)
from tests.comparison.plans import result


def both(values):
    return [result("a", one, seed) for seed, one in enumerate(values)]


# ---- curves ----


def test_a_level_is_reached_at_the_evaluation_that_sees_it():
    scores, costs = np.array([0.2, 0.4, 0.3, 0.8]), np.array([0.0, 100.0, 200.0, 300.0])
    for level, index, cost in ((0.1, 0, 0.0), (0.3, 1, 100.0), (0.4, 1, 100.0), (0.6, 3, 300.0), (0.9, NEVER, inf)):
        assert first_reaching(scores, np.array(level)) == index
        assert cost_to_reach(costs, scores, np.array(level)) == cost


def test_a_metric_at_a_level_lies_on_the_line_between_evaluations():
    scores, metric = np.array([0.2, 0.4, 0.3, 0.8]), np.array([1.0, 2.0, 3.0, 4.0])
    for level, value in ((0.1, 1.0), (0.2, 1.0), (0.3, 1.5), (0.6, 3.6), (0.8, 4.0)):
        assert value_at(metric, scores, np.array(level)) == pytest.approx(value)
    assert isnan(value_at(metric, scores, np.array(0.9)))


def test_runs_are_cut_off_where_the_budget_or_the_steps_end():
    (run,) = both([[0.2, 0.4, 0.6]])
    early = [result("a", [0.2, 0.4, 0.6], steps_epoch=1)]
    assert [point.epoch for point in until([run], "evaluations")[0].curve] == [0, 1, 2]
    assert [point.epoch for point in until(early, "steps")[0].curve] == [0, 1]
    assert level_at_end(until(early, "steps"), "reward").value == pytest.approx(0.4)


def test_prompts_without_a_score_do_not_count():
    (run,) = both([[0.2, 0.4]])
    run.curve[1].prompts["reward"][0] = nan
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 0.0, 0.0]])
    assert Curves([run]).averaged("reward", weights)[:, 0, 1] == pytest.approx([0.4 + 0.02 / 3, 0.39])


# ---- at the end ----


def test_the_end_is_the_mean_over_seeds_of_the_last_point():
    found = level_at_end(both([[0.2, 0.5], [0.2, 0.7]]), "reward")
    assert (found.value, found.n) == (pytest.approx(0.6), 2)
    assert [one.value for one in level_at_points(both([[0.2, 0.5], [0.2, 0.7]]), "reward")] == pytest.approx([0.2, 0.6])


def test_differences_are_paired_by_seed_and_by_prompt():
    """The prompts differ by .04, both cells alike: nothing of that is in the difference."""
    ours = [result("a", [0.2, 0.5 + 0.1 * seed], seed) for seed in range(3)]
    theirs = [result("b", [0.2, 0.4 + 0.1 * seed], seed) for seed in (2, 1, 0, 7)]
    found = difference(ours, theirs, "reward")
    assert (found.value, found.low, found.high) == (*[pytest.approx(0.1)] * 3,)
    assert found.n == 3


def test_raw_weights_are_judged_beside_their_average():
    ours, theirs = [
        [result(cell, [0.2, 0.5], seed, raw=raw) for seed in range(2)] for cell, raw in (("a", 0.7), ("b", 0.4))
    ]
    assert raw_at_end(ours, "reward").value == pytest.approx(0.7)
    assert raw_difference(ours, theirs, "reward").value == pytest.approx(0.3)
    plain = both([[0.2, 0.5], [0.2, 0.5]])  # a run without an average
    assert raw_at_end(plain, "reward").value == pytest.approx(0.5)


# ---- at equal training score ----


def test_every_pair_has_a_level_of_its_own_and_none_is_dropped():
    """Levels .4 and .8, the lower ends; at their mean as the one level, the second pair alone would count."""
    ours = [result("a", [0.2, 0.6], 0), result("a", [0.2, 1.0], 1)]
    theirs = [result("b", [0.2, 0.4], 0, unseen=[0.1, 0.22]), result("b", [0.2, 0.8], 1, unseen=[0.1, 0.46])]
    found = at_equal_score(ours, theirs, "shapes-verifier")
    assert found.level == pytest.approx(0.6)
    assert (found.estimate.n, found.without_level) == (2, 0)
    assert found.estimate.values == pytest.approx((0.2 - 0.22, 0.4 - 0.46))
    assert found.estimate.value == pytest.approx(-0.04)


def test_a_level_inside_the_noise_of_the_start_is_none():
    """Prompts spread by .018 around the start: its interval ends at .2 + 3.18 x .0183 / 2 = .229."""
    assert noise_of_start(result("a", [0.2])) == pytest.approx(0.2 + 3.182446305 * np.std([-2, -1, 1, 2], ddof=1) / 200)
    ours = [result("a", [0.2, 0.6], seed) for seed in range(2)]
    flat = [result("b", [0.2, 0.22], 0), result("b", [0.2, 0.5], 1)]
    found = at_equal_score(ours, flat, "shapes-verifier")
    assert (found.without_level, found.estimate.n) == (1, 2)
    assert isnan(found.estimate.value)
    assert speed(ours, flat, "images").without_level == 1


# ---- cost ----


def test_speed_is_the_geometric_mean_of_the_ratios_at_the_other_ones_best():
    slow = [result("slow", [0.2, 0.3, 0.4, 0.35], seed) for seed in range(2)]
    fast = [result("fast", [0.2, 0.6, 0.6, 0.6], 0), result("fast", [0.2, 0.3, 0.35, 0.4], 1)]
    found = speed([fast[0], result("fast", [0.2, 0.41, 0.5, 0.3], 1)], slow, "images").estimate
    assert (found.value, found.low, found.high) == (*[pytest.approx(2.0)] * 3,)  # 200 images against 100, twice
    assert found.is_ratio
    found = speed(fast, slow, "images").estimate
    assert found.value == pytest.approx(np.sqrt(2 * 2 / 3))
    assert found.values == pytest.approx((2.0, 2 / 3))


def test_a_run_that_never_gets_there_is_not_dropped():
    slow = [result("slow", [0.2, 0.3, 0.4], seed) for seed in range(3)]
    fast = [result("fast", [0.2, 0.6], 0), result("fast", [0.2, 0.3], 1), result("fast", [0.2, 0.5], 2)]
    found = speed(fast, slow, "evaluations").estimate
    assert found.values == pytest.approx((2.0, 0.0, 2.0))
    assert (found.value, found.low, found.high, found.n, found.coverage) == (2.0, 0.0, 2.0, 3, 0.75)
    assert isnan(found.error)


def test_speed_names_its_cost():
    slow, fast = (
        [result(cell, scores, seed) for seed in range(2)]
        for cell, scores in (("s", [0.2, 0.3, 0.5]), ("f", [0.2, 0.6]))
    )
    assert speed(fast, slow, "steps").estimate.value == pytest.approx(4 / 2)
    assert speed(fast, slow, "seconds").estimate.value == pytest.approx(20 / 10)


def test_the_cost_of_a_level_is_a_median_over_seeds():
    found = reach(both([[0.2, 0.6, 0.6], [0.2, 0.3, 0.6], [0.2, 0.3, 0.3]]), 0.5, "evaluations")
    assert (found.value, found.low, found.high, found.n) == (1000.0, 500.0, inf, 3)


# ---- guidance ----


def guided(*pairs):
    return [result(f"guidance-{score}", [score], stage="guidance", unseen=[unseen]) for score, unseen in pairs]


def test_cells_are_held_against_the_guided_base_of_the_same_training_score():
    base = guided((0.2, 0.5), (0.4, 0.7), (0.8, 0.5))
    ours = [result("a", [0.2, 0.3], seed, unseen=[0.5, 0.75]) for seed in range(2)]
    found = above_guidance(ours, base, "shapes-verifier")
    assert found.value == pytest.approx(0.75 - 0.6)
    beyond = [result("a", [0.2, 0.9], seed) for seed in range(2)]
    assert isnan(above_guidance(beyond, base, "shapes-verifier").value)
