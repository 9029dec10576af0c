"""The best evaluation is the best by what is trained."""

from dataclasses import replace

import pytest
import torch

from fdfo.config.load import reward_entries
from fdfo.evaluation.heldout import Evaluation
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.checkpoint import prune
from fdfo.training.choosing import best, level


def evaluation(epoch, jpeg, neat):
    scores = {"reward": [jpeg + neat] * 2, "jpeg": [jpeg] * 2, "shapes-neatness": [neat] * 2}
    common = {"prompts": ["a", "b"], "categories": [None, None], "images_per_prompt": 1, "steps": 1}
    return Evaluation(epoch=epoch, scores=scores, diversity=None, signals={}, **common)


HISTORY = [evaluation(0, 0.0, 0.2), evaluation(5, 10.0, 0.3), evaluation(10, 8.0, 0.9), evaluation(15, 8.0, 0.9)]


@pytest.mark.parametrize(("standardize", "expected"), [(False, (5, 2)), (True, (10, 1))])
def test_by_the_sum_that_is_trained(standardize, expected):
    """jpeg 0, 20 and neatness 0, 1 in training: deviations 10 and .5, so neatness counts 20 times as much."""
    names = ("jpeg", "shapes-neatness")
    reward = WeightedSum(reward_entries([{"name": name, "standardize": standardize} for name in names], "test"))
    assert best(HISTORY[:1], reward, "reward") == (0, 0)
    reward.observe({"jpeg": torch.tensor([0.0, 20.0]), "shapes-neatness": torch.tensor([0.0, 1.0])})
    assert best(HISTORY, reward, "reward") == expected
    assert best(HISTORY, reward, "jpeg") == (5, 2)
    levels = [level(past, reward, "reward") for past in HISTORY]
    if standardize:
        assert levels == pytest.approx(
            [(x - 10) / 10 + (y - 0.5) / 0.5 for x, y in ((0, 0.2), (10, 0.3), (8, 0.9), (8, 0.9))]
        )


def test_none_is_best_where_none_is_known():
    reward = WeightedSum(reward_entries(["jpeg"], "test"))
    assert best([], reward, "reward") == (None, 0)
    assert best([evaluation(0, float("nan"), 0.0)], reward, "reward") == (None, 0)


def test_people_have_no_part_in_it():
    """Nobody was asked about held-out images: what is left of the sum counts, in its trained units; or nothing."""
    entries = [{"name": "human"}, {"name": "jpeg", "weight": 0.5, "standardize": True}]
    mixed, alone = WeightedSum(reward_entries(entries, "test")), WeightedSum(reward_entries(entries[:1], "test"))
    mixed.observe({"human": torch.tensor([0.5, -0.5]), "jpeg": torch.tensor([0.0, 20.0])})
    assert best(HISTORY, mixed, "reward") == (5, 2)
    assert [level(past, mixed, "reward") for past in HISTORY] == pytest.approx([-0.5, 0.0, -0.1, -0.1])
    others = [replace(past, scores={"jpeg": past.scores["jpeg"]}) for past in HISTORY]
    assert best(others, alone, "reward") == (None, 0)
    assert best(others, alone, "jpeg") == (5, 2)


def test_what_best_points_at_is_kept_where_an_older_one_has_become_the_best(tmp_path):
    folder = tmp_path / "checkpoints"
    for epoch in range(2, 7):
        (folder / f"epoch-000000{epoch}").mkdir(parents=True)
    prune(folder, 4, None, best_epoch=2)
    prune(folder, 1, None, best_epoch=1)  # which was pruned before it was the best
    assert (folder / "best").read_text() == "epoch-0000002\n"
    assert sorted(path.name for path in folder.glob("epoch-*")) == ["epoch-0000002", "epoch-0000006"]
