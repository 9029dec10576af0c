"""Flow-GRPO: group-relative policy optimization of flow models (arXiv:2505.05470).

Every step of a stochastic sampler is a Gaussian action; images of a prompt are compared with each other, and the steps
of the better ones made more likely. Two settings are the authors': the classic one of the paper (the defaults), and the
better one of their repository, Flow-GRPO-Fast with coefficient-preserving noise (recipe sd35-flow-grpo). Departures:

1. The last step is an ODE step; the authors add its noise, of a standard deviation below .01, and do not train it (they
   train 99 % of ten steps).
2. The place of the window goes round the prompts of an epoch and moves on with every epoch, so that all places come
   equally often; the authors draw one for each batch.
3. The velocity at the first stochastic step is evaluated once for a group that shares its prefix, since its images are
   still one there.
4. The items of an epoch are dealt to its updates per trajectory and stratified over time, not by trajectory, so that
   the partition does not depend on the number of processes (training/batching.py).
5. Of others, off by default: `sampler: cps` (Flow-CPS, arXiv:2509.05952), where the log ratio and the divergence of a
   step are multiplied by 2 std^2 (methods/transitions.py, step_weight); `window_place: sliding` (MixGRPO,
   arXiv:2507.21802); `trust_region: divergence` (Flow-DPPO, arXiv:2606.11025, Eq. 14 and 18, from its authors'
   description of the code).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.metrics import RATIO_METRICS
from fdfo.methods.rows import rotated, valid_samples
from fdfo.methods.settings.flow_grpo import FlowGrpoConfig
from fdfo.methods.terms import velocity_of
from fdfo.methods.transitions import (
    TransitionItems,
    TransitionRollout,
    mean_shift,
    sample_transitions,
    step_log_ratio,
    step_weight,
    transition_items,
)
from fdfo.objectives.advantage import group_advantages
from fdfo.objectives.penalty import gaussian_divergence
from fdfo.objectives.surrogate import clipped, masked
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class FlowGRPO:
    """The method of the paper and its fast variants."""

    Config: ClassVar[type[FlowGrpoConfig]] = FlowGrpoConfig

    def __init__(self, config: FlowGrpoConfig):
        self.config = config
        self.needs_scores = True
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size = config.group_size
        self.trained_times = config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = int(config.kl_weight > 0)
        self.row_latents, self.row_velocities = 3, 0
        self.averages, self.memory = {}, None
        self.metrics = RATIO_METRICS
        if config.kl_weight > 0:
            self.metrics += ("divergence",)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """One for each step of each image; up to and with the window's first step one for a group that shares them."""
        alone = 0.0
        if self.config.shared_prefix:
            alone = 1 + (self.config.window_places - 1) / 2
        return num_prompts * (alone + self.group_size * (self.config.steps - alone))

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> TransitionRollout:
        """Sample a group of trajectories per prompt and keep their trained steps."""
        first = self._window_starts([prompt.number for prompt in prompts], noise)
        return sample_transitions(
            policy, prompts, noise, self.config, first, self.group_size, self.config.shared_prefix
        )

    def _window_starts(self, numbers: Sequence[int], noise: NoiseStreams) -> Tensor:
        """First stochastic step of every prompt: [P] int64."""
        places = self.config.window_places
        if self.config.window_place == "sliding":
            assert noise.epoch is not None
            return torch.full((len(numbers),), noise.epoch // self.config.window_epochs % places)
        return rotated(numbers, noise, places)

    def credit(self, rollout: Rollout, scores: Scores) -> TransitionItems:
        """One row per trained step of the groups in which every score is valid."""
        assert isinstance(rollout, TransitionRollout)
        valid = valid_samples(scores, self.group_size)
        spread = scores.batch_std if self.config.spread == "batch" else None
        advantages = group_advantages(scores.total[valid], self.group_size, spread)
        limit = self.config.advantage_clip
        return transition_items(rollout, valid, advantages.clamp(-limit, limit))

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Surrogate inside its trust region, plus the weighted divergence from the base."""
        assert isinstance(items, TransitionItems)
        config, cond = self.config, items.cond
        v = policy.velocity(items.x, items.t, cond)
        log_ratio, metrics = step_log_ratio(policy, items, v, config)
        if config.trust_region == "ratio":
            losses = clipped(log_ratio, items.advantage, config.clip_range)
        else:
            shift, std = mean_shift(policy, items, v.detach() - items.v_ref, config)
            is_far = gaussian_divergence(shift, std) >= config.divergence_limit
            losses = masked(log_ratio, items.advantage, is_far)
            metrics["clip_fraction"] = is_far.float()
        if config.kl_weight > 0:
            v_base = velocity_of("base", policy, items.x, items.t, cond)
            shift, std = mean_shift(policy, items, v - v_base, config)
            divergence = step_weight(config, std) * gaussian_divergence(shift, std)
            if config.kl_form == "code" and config.sampler == "sde":
                divergence = (items.t - items.s) * divergence
            losses = losses + config.kl_weight * divergence
            metrics["divergence"] = divergence.detach()
        return LossOutput(losses=losses, metrics=metrics)
