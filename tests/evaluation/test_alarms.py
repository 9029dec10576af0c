"""Alarms ring when they should, and not otherwise."""

import numpy as np
import pytest

from fdfo.evaluation.alarms import alarms
from fdfo.evaluation.heldout import Evaluation

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=100)


def evaluation(epoch, reward=0.0, unseen=0.0, diversity=1.0, velocity=1.0, sharpness=0.05):
    return Evaluation(
        epoch=epoch,
        prompts=["p"] * 100,
        categories=[None] * 100,
        images_per_prompt=1,
        steps=10,
        scores={
            "reward": list(BASE + reward + RNG.normal(0, 0.1, 100)),
            "unseen": list(BASE + unseen + RNG.normal(0, 0.1, 100)),
        },
        diversity=[diversity] * 100,
        signals={"velocity_rms": [velocity] * 100, "sharpness": [sharpness] * 100},
    )


def names(*history):
    return [alarm.name for alarm in alarms(history, unseen=["unseen"])]


def test_a_healthy_run_raises_none():
    assert names(evaluation(0), evaluation(5, 0.5, 0.2), evaluation(10, 1.0, 0.4, 0.8, 1.1)) == []
    assert names(evaluation(0)) == []


def test_unseen_score_falls_while_the_trained_one_rises():
    assert names(evaluation(0), evaluation(5, reward=1.0, unseen=-0.3)) == ["over-optimisation"]


def test_unseen_score_falls_from_its_best():
    history = evaluation(0), evaluation(5, 0.5, 0.5), evaluation(10, 1.0, 0.2)
    (alarm,) = alarms(history, unseen=["unseen"])
    assert "since epoch 5" in alarm.message


@pytest.mark.slow
def test_unseen_scores_that_do_not_change_raise_hardly_ever_one():
    """Runs of 20 evaluations with two unseen scores, of which the best is looked for among all: less than 1 in 20."""
    unseen, raised = ["a", "b"], 0
    for _ in range(20):
        history = [evaluation(0)]
        for epoch in range(1, 21):
            past = evaluation(epoch, reward=epoch / 10)
            past.scores.update({name: list(BASE + RNG.normal(0, 0.5, 100)) for name in unseen})
            history.append(past)
        history[0].scores.update({name: list(BASE + RNG.normal(0, 0.5, 100)) for name in unseen})
        raised += any(alarms(history[: n + 1], unseen) for n in range(1, 21))
    assert raised <= 1


def test_nothing_is_compared_with_black_images():
    assert names(evaluation(0, diversity=0.0, sharpness=0.0), evaluation(5)) == []


def test_no_alarm_when_both_fall():
    assert names(evaluation(0), evaluation(5, -1.0, -1.0)) == []


def test_diversity_collapse_and_growing_velocity():
    assert names(evaluation(0), evaluation(5, diversity=0.5, velocity=1.5)) == ["diversity", "velocity"]


@pytest.mark.parametrize(("sharpness", "expected"), [(0.02, ["sharpness"]), (0.05, []), (0.1, ["sharpness"])])
def test_details_that_vanish_or_multiply(sharpness, expected):
    assert names(evaluation(0), evaluation(5, sharpness=sharpness)) == expected
