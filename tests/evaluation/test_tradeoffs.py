"""What a run with several scores paid for what."""

from types import SimpleNamespace

import pytest

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.record import Score
from fdfo.evaluation.report.tradeoffs import front, scores_of, trade_offs

NAN = float("nan")
PLACES = dict.fromkeys(["reward", "a", "b", "c", "u"], 2)


def run(scores, **roles):
    """A run with these means at epochs 0, 5, ... of scores by key, and the roles of the scores."""
    count = len(next(iter(scores.values())))
    common = {"prompts": ["a", "b"], "categories": [None] * 2, "images_per_prompt": 1, "steps": 1, "diversity": None}
    evaluations = [
        Evaluation(epoch=5 * i, scores={key: [means[i]] * 2 for key, means in scores.items()}, signals={}, **common)
        for i in range(count)
    ]
    return SimpleNamespace(label="run", scores=[Score(key, key, roles[key]) for key in scores], evaluations=evaluations)


def test_parts_of_a_sum_are_weighed_in_all_of_them():
    """Epoch 5 loses to 10 in both plots; 0 and 10 are each better in something; 15 is best only in the third score."""
    record = run(
        {
            "reward": [3.0] * 4,
            "a": [0.0, 1.0, 2.0, 0.0],
            "b": [3.0, 1.0, 2.0, 0.0],
            "c": [0.0, 0.0, 0.0, 1.0],
            "u": [1.0] * 4,
        },
        reward="trained",
        a="part",
        b="part",
        c="part",
        u="unseen",
    )
    found = trade_offs(record, PLACES)
    assert found is not None
    assert (found.names, found.best, found.evaluations) == (["a", "b", "c"], [0, 10, 15], 4)
    assert [(plot.x_name, plot.y_name) for plot in found.plots] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(point.epoch, point.x, point.y, point.is_best) for point in found.plots[0].points] == [
        (0, 0.0, 3.0, True),
        (5, 1.0, 1.0, False),
        (10, 2.0, 2.0, True),
        (15, 0.0, 0.0, False),
    ]
    assert found.plots[0].points[1].text == "run, epoch 5: 1.00 and 1.00"


def test_one_trained_score_is_weighed_against_what_is_watched():
    found = trade_offs(run({"reward": [0.0, 1.0, 2.0], "u": [1.0, 2.0, 0.0]}, reward="trained", u="unseen"), PLACES)
    assert found is not None
    assert (found.names, found.best) == (["reward", "u"], [5, 10])
    assert len(found.plots) == 1


def test_labels_of_an_axis_stand_side_by_side():
    tiny = run({"reward": [0.006738, 0.006745], "u": [0.006738, 0.006745]}, reward="trained", u="unseen")
    (plot,) = trade_offs(tiny, PLACES).plots
    assert {len(label) for _, label in plot.y_ticks} == {8} and len(plot.y_ticks) > 3
    assert 2 <= len(plot.x_ticks) <= 3  # 5 of these would be 270 pixels of 290 on a phone


@pytest.mark.parametrize(
    "record",
    [
        run({"reward": [0.0, 1.0]}, reward="trained"),
        run({"reward": [0.0], "u": [1.0]}, reward="trained", u="unseen"),
        run({"reward": [0.0, 1.0], "u": [NAN, 1.0]}, reward="trained", u="unseen"),
    ],
)
def test_nothing_to_weigh(record):
    assert trade_offs(record, PLACES) is None


def test_what_most_runs_were_judged_by_is_plotted_first():
    ends = [0.0, 1.0]
    asked, other = run({"h": ends, "a": ends}, h="trained", a="unseen"), run({"a": ends, "b": ends}, a="part", b="part")
    assert scores_of([asked, other]) == ["a", "h", "b"]


def test_the_front_in_three_scores():
    assert front([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]) == [3, 4]
