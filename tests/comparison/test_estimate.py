"""What is left of a plan and how long it takes, told before it begins and from what it has measured."""

import pytest

from fdfo.comparison.cells import Configurations, Run
from fdfo.comparison.estimate import START_S, estimate, evaluations_of, told
from tests.comparison.plans import SCORE, plan, result


def test_a_run_is_its_training_and_its_evaluations(tmp_path):
    """3 epochs of 49.92; judged at epochs 0, 2, 3 (and 3 again as a mark): 4 prompts x 2 images x 2 steps, with the
    average and without it."""
    known = Configurations(plan(tmp_path))
    judged = 4 * 2 * 2
    assert evaluations_of(known, Run("final", SCORE, "pair", (), 0)) == pytest.approx(3 * 49.92 + 2 * 4 * judged)
    guided = Run("guidance", SCORE, "guidance-2", (("policy.guidance", 2.0),), 0)
    assert evaluations_of(known, guided) == 2 * judged


def test_what_is_done_is_not_left(tmp_path):
    given = plan(tmp_path, sweep={"optim.lr": [1e-4, 2e-4]}, guidance=[2.0])
    known = Configurations(given)
    assert [(one.stage, one.runs) for one in estimate(given, known, [])] == [
        ("guidance", 1),
        ("tuning", 12),
        ("final", 4),
    ]
    swept = {"optim.lr": 2e-4}
    done = [result("pair", [0.2, 0.3], 1000, "tuning", swept=swept), result("single", [0.2, 0.3], 0, swept=swept)]
    assert [one.runs for one in estimate(given, known, done)] == [1, 5, 3]  # the choice of `single` stands
    text = told(estimate(given, known, done))
    assert text.startswith("left: 1 guidance run, 5 tuning runs, 3 final runs; about ")
    assert text.endswith("on one core, more where a sweep is extended")
    assert told([]) == "nothing is left to do"


def test_what_is_done_of_the_first_of_two_grids_is_not_left(tmp_path):
    """Three settings of each cell, on three seeds."""
    given = plan(tmp_path, sweep=[{"optim.lr": [1e-4, 2e-4]}, {"optim.ema": [0.5, 0.9]}])
    known = Configurations(given)
    assert estimate(given, known, [])[1].runs == 18
    done = [result("pair", [0.2, 0.3], 1000, "tuning", swept={"optim.lr": 2e-4})]
    assert estimate(given, known, done)[1].runs == 17


def test_the_rate_is_measured_where_runs_are_done(tmp_path):
    """5 s a point and 2 points, for 213.76 evaluations."""
    given = plan(tmp_path, seeds=1, claims=[], cells={"pair": {}})
    known = Configurations(given)
    before = estimate(given, known, [])[-1].seconds
    assert before == pytest.approx(START_S + (3 * 49.92 + 128) / 350)
    three = plan(tmp_path, seeds=3, claims=[], cells={"pair": {}})
    done = [result("pair", [0.2, 0.3], seed) for seed in range(2)]
    left = estimate(three, Configurations(three), done)[-1]
    assert (left.runs, left.seconds) == (1, pytest.approx(START_S + 10.0))
