"""DDPO: denoising diffusion policy optimization (arXiv:2305.13301), on flows.

Every step of a stochastic sampler is a Gaussian action; an image is compared with earlier images of its prompt, and its
steps made more or less likely. Departures from the paper:

1. The sampler is a flow's (the transitions of Flow-GRPO) instead of DDIM with eta = 1. Its last step is an ODE step and
   not trained: its noise would be so small that its log ratios are noise themselves.
2. Log-probabilities are means over the elements, as in Flow-GRPO: with `form: importance` the ratio is clipped per
   element, with `form: score_function` this is a constant factor. With `sampler: cps` a step's log ratio is also
   multiplied by 2 std^2 (methods/transitions.py, step_weight).
3. The statistics of the batch stand in until a prompt has `buffer_size` scores (or `needed_scores`); advantages are
   clipped.
4. The items of an epoch are dealt to its updates per trajectory and stratified over time, not by trajectory, so that
   the partition does not depend on the number of processes (training/batching.py).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.metrics import RATIO_METRICS
from fdfo.methods.rows import valid_samples
from fdfo.methods.settings.ddpo import DdpoConfig
from fdfo.methods.statistics import PromptStatistics
from fdfo.methods.transitions import (
    TransitionItems,
    TransitionRollout,
    sample_transitions,
    step_log_ratio,
    transition_items,
)
from fdfo.objectives.advantage import standardized
from fdfo.objectives.surrogate import clipped
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class DDPO:
    """Both forms of the method."""

    Config: ClassVar[type[DdpoConfig]] = DdpoConfig

    def __init__(self, config: DdpoConfig):
        self.config = config
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size = config.images_per_prompt
        self.trained_times = config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = 0
        self.row_latents, self.row_velocities = 3, 0
        self.averages = {}
        self.memory = PromptStatistics(config.buffer_size, config.needed_scores)
        self.metrics = RATIO_METRICS

    def sampling_evaluations(self, num_prompts: int) -> float:
        """One for each step of each image."""
        return num_prompts * self.group_size * self.config.steps

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> TransitionRollout:
        """Sample `images_per_prompt` trajectories per prompt and keep their trained steps."""
        first = torch.zeros(len(prompts), dtype=torch.int64)
        return sample_transitions(policy, prompts, noise, self.config, first, self.group_size)

    def credit(self, rollout: Rollout, scores: Scores) -> TransitionItems:
        """One row per trained step of the prompts whose scores are all valid, after `memory` has observed the epoch."""
        assert isinstance(rollout, TransitionRollout)
        batch = scores.batch_mean, scores.batch_std
        known = [self.memory.of(prompt.text) or batch for prompt in rollout.prompts]
        mean, std = torch.tensor(known, dtype=scores.total.dtype).repeat_interleave(self.group_size, 0).unbind(1)
        limit = self.config.advantage_clip
        advantages = standardized(scores.total, mean, std).clamp(-limit, limit)
        valid = valid_samples(scores, self.group_size)
        return transition_items(rollout, valid, advantages[valid])

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Clipped surrogate, or minus advantage times log-probability up to a constant."""
        assert isinstance(items, TransitionItems)
        v = policy.velocity(items.x, items.t, items.cond)
        log_ratio, metrics = step_log_ratio(policy, items, v, self.config)
        if self.config.form == "score_function":
            losses = -items.advantage * log_ratio
        else:
            losses = clipped(log_ratio, items.advantage, self.config.clip_range)
        return LossOutput(losses=losses, metrics=metrics)
