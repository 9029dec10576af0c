"""AWM: advantage-weighted matching (arXiv:2509.25050).

Minus the weighted flow-matching loss of an image, re-noised at a fresh time, stands in for its log-likelihood: that of
better images is raised, that of worse ones lowered, inside a trust region. The defaults are the setting that the
authors released; their paper's plain form is `weighting: velocity`. Departures:

1. The released setting draws one set of times for each batch; here every image has its own. Its solver is an SA-solver
   without noise; here any of flow/solve.py.
2. The log ratio is evaluated from -mean(dv^2 + 2 dv (v_old - target)), dv = v - v_old, without subtracting two large
   numbers.
3. The items of an epoch are dealt to its updates per image and stratified over time, so that the partition does not
   depend on the number of processes (training/batching.py).
4. Weightings other than huber and velocity are named by what they measure: the error of the clean estimate, of the
   noise estimate, or the evidence lower bound.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.matching import ComparedItems, MatchingItems, MatchingRollout, matching_items, sample_and_renoise
from fdfo.methods.metrics import RATIO_METRICS, ratio_metrics
from fdfo.methods.settings.awm import AwmConfig, Weighting
from fdfo.methods.terms import penalties, velocity_of
from fdfo.objectives.difference import mean_square
from fdfo.objectives.penalty import velocity_distance
from fdfo.objectives.surrogate import clipped, velocity_log_ratio
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores

AVERAGE = "average"
"""Name of the averaged weights that the policy is held near."""


SMALLEST_ERROR = 1e-10
"""Added to an error before its root is taken (the released code)."""


def time_weight(weighting: Weighting, t: Tensor) -> Tensor:
    """weight(t) [n] of mean((v - (eps - x0))^2), t in (0, 1], for the weightings that are linear in it."""
    match weighting:
        case "clean":
            return t.square()
        case "noise":
            return (1 - t).square()
        case "bound":
            return (1 - t) / t
        case _:
            return torch.ones_like(t)


def matching_log_ratio(v: Tensor, v_old: Tensor, items: MatchingItems, config: AwmConfig) -> Tensor:
    """Log ratio [n] of new to old policy: the fall of the weighted matching error from v_old to v [n, C, H, W]."""
    missing = v_old - items.target
    fall = velocity_log_ratio(v, v_old, missing)  # e_old - e
    if config.weighting != "huber":
        return time_weight(config.weighting, items.t) * fall
    error, p = mean_square(missing) + SMALLEST_ERROR, config.huber_power
    change = (-fall / error).clamp(min=torch.finfo(fall.dtype).eps - 1)  # e / e_old - 1
    return -items.t / p * error.pow(p) * (p * change.log1p()).expm1()


class AWM:
    """The method of the paper."""

    Config: ClassVar[type[AwmConfig]] = AwmConfig

    def __init__(self, config: AwmConfig):
        self.config = config
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size, self.trained_times = config.group_size, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        holds = config.average_weight > 0
        self.row_forwards = config.penalty_forwards + holds
        self.row_latents, self.row_velocities = 1 if config.on_policy else 2, 0
        self.averages = {AVERAGE: self._decay} if holds else {}
        self.memory = None
        self.metrics = RATIO_METRICS + config.penalty_metrics
        if holds:
            self.metrics += ("average_distance",)

    def _decay(self, epoch: int) -> float:
        return min(self.config.average_decay_rate * (epoch + 1), self.config.average_decay_limit)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """All steps of each image, and the sampling policy at its fresh times unless that is the trained one."""
        return self.config.sampling_evaluations(num_prompts, is_compared=not self.config.on_policy)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> MatchingRollout:
        """Sample a group per prompt, and re-noise it."""
        return sample_and_renoise(policy, prompts, noise, self.config, is_compared=not self.config.on_policy)

    def credit(self, rollout: Rollout, scores: Scores) -> MatchingItems:
        """One row per fresh time of the groups in which every score is valid."""
        assert isinstance(rollout, MatchingRollout)
        return matching_items(rollout, scores, self.config)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Clipped surrogate on the ratio of matching likelihoods, plus the distances to the average and the base."""
        assert isinstance(items, MatchingItems)
        config, cond, x = self.config, items.cond, items.x
        v = policy.velocity(x, items.t, cond)
        v_old = items.v_old if isinstance(items, ComparedItems) else v.detach()
        log_ratio = matching_log_ratio(v, v_old, items, config)
        advantage = items.advantage * (config.advantage_max / config.advantage_clip)
        losses = clipped(log_ratio, advantage, config.clip_range)
        penalty, metrics = penalties(config, policy, v, x, items.t, cond)
        metrics |= ratio_metrics(log_ratio, config.clip_range, v)
        if config.average_weight > 0:
            distance = velocity_distance(v, velocity_of(AVERAGE, policy, x, items.t, cond))
            losses = losses + config.average_weight * distance
            metrics["average_distance"] = distance.detach()
        return LossOutput(losses=losses + penalty, metrics=metrics)
