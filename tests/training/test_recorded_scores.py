"""Methods whose loss makes and scores images itself: nothing is scored before, and what the loss scores is logged."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.config.tree import RewardConfig
from fdfo.errors import RewardError
from fdfo.flow.noise import NoiseStreams
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.epoch import sample, update
from tests.methods.world import make, make_engine, prompts
from tests.worlds import GaussianPolicy


class Mean:
    """A score of brightness, times a factor; counts what it is asked."""

    differentiable = True

    def __init__(self, factor=1.0, failing=()):
        self.factor, self.failing, self.asked = factor, failing, []

    def load(self, device, dtype):
        pass

    def __call__(self, images, prompts, metadata):
        scores = self.factor * images.mean((1, 2, 3))
        self.asked += scores.tolist()
        failed = torch.tensor([prompt in self.failing for prompt in prompts])
        return scores.where(~failed, torch.nan)


def engine_with(variant, score, standardize=False, **settings):
    engine = make_engine(make(variant, **settings), GaussianPolicy(shape=(3, 2, 2)), micro_batch=5)
    reward = WeightedSum([RewardConfig(name="jpeg", label="mean", standardize=standardize)])
    reward.rewards, reward.differentiable = [score], True
    reward.load(torch.device("cpu"), torch.float32)
    engine.reward = reward
    return engine


def epoch(engine, number, count=12):
    noise = NoiseStreams(seed=0, epoch=number)
    sampled = sample(engine, prompts(count), noise)
    before = dict(sampled.metrics)
    update(engine, sampled, noise)
    return before, sampled.metrics


@pytest.mark.parametrize(("variant", "images"), [("refl", 12), ("draft-3", 12), ("draft-random", 12), ("draft-lv", 24)])
def test_only_the_images_of_the_loss_are_scored_and_they_are_what_is_logged(variant, images):
    score = Mean()
    engine = engine_with(variant, score)
    before, metrics = epoch(engine, 0)
    assert before == {} and len(score.asked) == images == metrics["images"]
    asked = torch.tensor(score.asked, dtype=torch.float64)
    assert_close(metrics["reward"], asked.mean().item())
    assert_close(metrics["score/mean"], asked.mean().item())
    assert_close(metrics["reward_std"], asked.std(correction=0).item())
    assert (metrics["failed"], metrics["dropped_groups"], metrics["group_spread"]) == (0, 0, 0)
    assert engine.recorded_scores == []


def test_their_moments_standardise_the_next_epoch():
    """Trained on as they are in the first epoch, and then less the mean over the deviation of the first."""
    score = Mean(factor=1000.0)
    engine = engine_with("draft-3", score, standardize=True)
    epoch(engine, 0)
    first = torch.tensor(score.asked, dtype=torch.float64)
    found = engine.reward.standardized_total({"mean": torch.tensor([5.0], dtype=torch.float64)})
    assert_close(found.item(), ((5.0 - first.mean()) / first.std(correction=0)).item())


def test_scores_that_fail_in_the_loss_are_counted_and_too_many_stop_the_run():
    engine = engine_with("refl", Mean(failing={"prompt 0"}))
    engine.config = engine.config.model_copy(
        update={"train": engine.config.train.model_copy(update={"max_failed_share": 0.2})}
    )
    _, metrics = epoch(engine, 0)  # prompts 0 and 8 of 12
    assert metrics["failed"] == 2 and metrics["reward"] == metrics["reward"]
    engine = engine_with("refl", Mean(failing={"prompt 0"}))
    with pytest.raises(RewardError, match="2 of 12 scores failed"):
        epoch(engine, 0)
