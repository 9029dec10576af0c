"""RVM: reward-based velocity matching (arXiv:2608.23664), with RAM, reinforce adjoint matching (arXiv:2605.10759).

Images are re-noised at fresh times; the velocity is pulled toward the one that leads to an image, or pushed away from
it, as its score is above or below the others of its prompt. No stochastic sampling, no old policy, no likelihood. RVM
is written from public descriptions and not from the paper's text; RAM's loss is its Eq. 17 as others quote it.
Departures:

1. The weight of RVM's anchor is not in the descriptions (its video setting has none); the value is ours.
2. RAM takes the advantages of RVM for its rewards.
3. The items of an epoch are dealt to its updates per image and stratified over time, so that the partition does not
   depend on the number of processes (training/batching.py).
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.matching import MatchingItems, MatchingRollout, matching_items, sample_and_renoise
from fdfo.methods.settings.rvm import RvmConfig
from fdfo.methods.terms import penalties, velocity_of
from fdfo.objectives.difference import mean_square, scale_by
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


def matching_target(v: Tensor, u: Tensor, v_base: Tensor | None, advantage: Tensor, config: RvmConfig) -> Tensor:
    """Velocity [n, C, H, W] to regress on; v_base may be None where nothing pulls toward it."""
    pull = scale_by(u - v, advantage)
    if config.form == "ram":
        assert v_base is not None
        return v_base + pull
    return v + pull if v_base is None else v + pull - config.anchor_weight * (v - v_base)


class RVM:
    """Both forms of the method."""

    Config: ClassVar[type[RvmConfig]] = RvmConfig

    def __init__(self, config: RvmConfig):
        self.config = config
        self.is_anchored = config.form == "ram" or config.anchor_weight > 0
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size, self.trained_times = config.group_size, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards + self.is_anchored
        self.row_latents, self.row_velocities = 1, 0
        self.averages, self.memory = {}, None
        self.metrics = ("matching_error", "velocity_rms", *config.penalty_metrics)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """All steps of each image."""
        return self.config.sampling_evaluations(num_prompts, is_compared=False)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> MatchingRollout:
        """Sample a group per prompt, and re-noise it."""
        return sample_and_renoise(policy, prompts, noise, self.config, is_compared=False)

    def credit(self, rollout: Rollout, scores: Scores) -> MatchingItems:
        """One row per fresh time of the groups in which every score is valid."""
        assert isinstance(rollout, MatchingRollout)
        return matching_items(rollout, scores, self.config)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Squared error from the pulled velocity."""
        assert isinstance(items, MatchingItems)
        config, cond, x = self.config, items.cond, items.x
        v = policy.velocity(x, items.t, cond)
        v_base = velocity_of("base", policy, x, items.t, cond) if self.is_anchored else None
        target = matching_target(v.detach(), items.target, v_base, config.advantage_scale * items.advantage, config)
        losses = mean_square(v - target) * (1.0 if config.form == "ram" else 0.5)
        penalty, metrics = penalties(config, policy, v, x, items.t, cond)
        metrics["matching_error"] = mean_square(v.detach() - items.target)
        metrics["velocity_rms"] = mean_square(v.detach()).sqrt()
        return LossOutput(losses=losses + penalty, metrics=metrics)
