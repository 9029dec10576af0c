"""AWM: advantage-weighted matching (arXiv:2509.25050).

Minus the weighted flow-matching loss of an image, re-noised at a fresh time, stands in for its log-likelihood: that of
better images is raised, that of worse ones lowered, inside a trust region. Departures from the paper:

1. The weightings are named by what they measure: the error of the velocity, of the clean estimate, of the noise
   estimate, or the evidence lower bound.
2. The log ratio is evaluated as -weight mean(dv^2 + 2 dv (v_old - target)), dv = v - v_old, the same number without
   subtracting two large ones.
3. The items of an epoch are dealt to its updates per image and stratified over time, so that the partition does not
   depend on the number of processes (training/batching.py).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from fdfo.config.bounds import Decay, NonNegative
from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.matching import (
    MatchingConfig,
    MatchingItems,
    MatchingRollout,
    matching_items,
    sample_and_renoise,
)
from fdfo.methods.metrics import RATIO_METRICS, ratio_metrics
from fdfo.methods.terms import distance_to
from fdfo.objectives.surrogate import clipped, velocity_log_ratio
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores

AVERAGE = "average"
"""Name of the averaged weights that the policy may be held near."""

Weighting = Literal["velocity", "clean", "noise", "bound"]


class AwmConfig(MatchingConfig):
    """Defaults are Flow-GRPO's where the two methods agree; the others are ours."""

    name: Literal["awm"] = "awm"
    weighting: Weighting = "velocity"
    """weight(t) of the matching error: velocity 1, clean t^2, noise (1 - t)^2, bound (1 - t) / t."""
    clip_range: Annotated[float, Field(gt=0, lt=1)] = 1.0e-4
    """Trusted change c of the ratio (Flow-GRPO's)."""
    kl_weight: NonNegative = 0.0
    """Weight of the squared velocity distance to `kl_reference`."""
    kl_reference: Literal["base", "average"] = "base"
    """base: the weights before training; average: those of the epochs so far, with `average_decay`."""
    average_decay: Decay = 0.9
    """Decay per epoch of the averaged weights."""


def time_weight(weighting: Weighting, t: Tensor) -> Tensor:
    """weight(t) [n] of mean((v - (eps - x0))^2), t in (0, 1]."""
    match weighting:
        case "velocity":
            return torch.ones_like(t)
        case "clean":
            return t.square()
        case "noise":
            return (1 - t).square()
        case "bound":
            return (1 - t) / t


class AWM:
    """The method of the paper."""

    Config: ClassVar[type[AwmConfig]] = AwmConfig

    def __init__(self, config: AwmConfig):
        self.config = config
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size, self.trained_times = config.group_size, config.trained_times
        self.row_evaluations = self.kept_evaluations = 1
        self.row_latents, self.row_velocities = 2, 0
        keeps_average = config.kl_weight > 0 and config.kl_reference == "average"
        self.averages = {AVERAGE: lambda epoch: config.average_decay} if keeps_average else {}
        self.memory = None
        self.metrics = RATIO_METRICS
        if config.kl_weight > 0:
            self.metrics += ("velocity_distance",)

    def sampling_evaluations(self, num_prompts: int) -> int:
        """All steps of each image, and the sampling policy at its fresh times."""
        return self.config.sampling_evaluations(num_prompts)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> MatchingRollout:
        """Sample a group per prompt, and re-noise it."""
        return sample_and_renoise(policy, prompts, noise, self.config, "current")

    def credit(self, rollout: Rollout, scores: Scores) -> MatchingItems:
        """One row per fresh time of the groups in which every score is valid."""
        assert isinstance(rollout, MatchingRollout)
        return matching_items(rollout, scores, self.config)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Clipped surrogate on the ratio of matching likelihoods, plus the distance to the reference."""
        assert isinstance(items, MatchingItems)
        config, cond, x = self.config, items.cond, items.x
        v = policy.velocity(x, items.t, cond)
        missing = items.v_old - (items.eps - items.x0)
        log_ratio = time_weight(config.weighting, items.t) * velocity_log_ratio(v, items.v_old, missing)
        losses = clipped(log_ratio, items.advantage, config.clip_range)
        metrics = ratio_metrics(log_ratio, config.clip_range, v)
        if config.kl_weight > 0:
            distance = distance_to(config.kl_reference, policy, v, x, items.t, cond)
            losses = losses + config.kl_weight * distance
            metrics["velocity_distance"] = distance.detach()
        return LossOutput(losses=losses, metrics=metrics)
