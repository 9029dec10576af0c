"""Flow-GRPO: group-relative policy optimization of flow models (arXiv:2505.05470).

Every step of a stochastic sampler is a Gaussian action; images of a prompt are compared with each other, and the steps
of the better ones made more likely. Departures from the paper and its published settings:

1. All stochastic steps are trained, or `trained_times` of them; the authors leave out the last one (99 % of ten).
2. The items of an epoch are dealt to its updates per trajectory and stratified over time, not by trajectory, so that
   the partition does not depend on the number of processes (training/batching.py).
3. Beyond the paper, off by default: `sampler: cps` (Flow-CPS, arXiv:2509.05952), and `window` with its steps at random
   (Flow-GRPO-Fast) or sliding from noise to image (MixGRPO, arXiv:2507.21802). Each group has a random window of its
   own, so that every epoch covers all times, and its images have different starts. With cps the log ratio and the
   divergence of a step are multiplied by 2 std^2 (methods/transitions.py, step_weight).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fdfo.config.bounds import Count, Images, NonNegative, Steps
from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.metrics import RATIO_METRICS
from fdfo.methods.rows import valid_samples
from fdfo.methods.transitions import (
    TransitionConfig,
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
from fdfo.objectives.surrogate import clipped
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class FlowGrpoConfig(TransitionConfig):
    """Defaults are the published setting for SD3.5-Medium."""

    name: Literal["flow_grpo"] = "flow_grpo"
    group_size: Annotated[Images, Field(ge=2)] = 24
    """Images G of a prompt, compared with each other (Flow-GRPO: 24)."""
    spread: Literal["group", "batch"] = "batch"
    """Whose standard deviation divides the advantages (the authors' default: batch)."""
    kl_weight: NonNegative = 0.04
    """Weight beta of the transitions' KL divergence to the base (Flow-GRPO: 0.04; 0.01 for PickScore)."""
    window: Steps | Literal["all"] = "all"
    """Number of stochastic steps; the others are ODE steps (Flow-GRPO-Fast: 2, MixGRPO: 4)."""
    window_place: Literal["random", "sliding"] = "random"
    """random: anywhere, for each group anew; sliding: one step toward the image every `window_epochs`."""
    window_epochs: Count = 25
    """Epochs that a sliding window stays (MixGRPO: 25)."""

    @property
    def stochastic_steps(self) -> int:
        """Steps of each trajectory that are stochastic: those of the window."""
        return self.noisy_steps if self.window == "all" else self.window

    @model_validator(mode="after")
    def _window_fits(self) -> "FlowGrpoConfig":
        if self.window != "all" and self.window > self.noisy_steps:
            raise ValueError(
                f"window={self.window} exceeds the {self.noisy_steps} steps that can be stochastic; use 'all' or fewer"
            )
        return self


class FlowGRPO:
    """The method of the paper and its fast variants."""

    Config: ClassVar[type[FlowGrpoConfig]] = FlowGrpoConfig

    def __init__(self, config: FlowGrpoConfig):
        self.config = config
        self.needs_score_gradient = self.differentiates_reward = False
        self.group_size = config.group_size
        self.trained_times = config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_latents, self.row_velocities = 3, 0
        self.averages, self.memory = {}, None
        self.metrics = RATIO_METRICS
        if config.kl_weight > 0:
            self.metrics += ("divergence",)

    def sampling_evaluations(self, num_prompts: int) -> int:
        """One for each step of each image."""
        return num_prompts * self.group_size * self.config.steps

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> TransitionRollout:
        """Sample a group of trajectories per prompt and keep their trained steps."""
        first = self._window_starts([prompt.number for prompt in prompts], noise)
        return sample_transitions(policy, prompts, noise, self.config, first, self.group_size)

    def _window_starts(self, numbers: Sequence[int], noise: NoiseStreams) -> Tensor:
        """First stochastic step of every prompt: [P] int64."""
        positions = self.config.noisy_steps - self.config.stochastic_steps + 1
        if self.config.window_place == "sliding":
            assert noise.epoch is not None
            return torch.full((len(numbers),), noise.epoch // self.config.window_epochs % positions)
        return (noise.uniform("window", numbers) * positions).long()

    def credit(self, rollout: Rollout, scores: Scores) -> TransitionItems:
        """One row per trained step of the groups in which every score is valid."""
        assert isinstance(rollout, TransitionRollout)
        valid = valid_samples(scores, self.group_size)
        spread = scores.batch_std if self.config.spread == "batch" else None
        advantages = group_advantages(scores.total[valid], self.group_size, spread)
        limit = self.config.advantage_clip
        return transition_items(rollout, valid, advantages.clamp(-limit, limit))

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Clipped surrogate, plus the weighted divergence from the base."""
        assert isinstance(items, TransitionItems)
        cond = items.cond
        v = policy.velocity(items.x, items.t, cond)
        log_ratio, metrics = step_log_ratio(policy, items, v, self.config)
        losses = clipped(log_ratio, items.advantage, self.config.clip_range)
        if self.config.kl_weight > 0:
            with torch.no_grad():
                v_base = policy.velocity(items.x, items.t, cond, weights="base")
            shift, std = mean_shift(policy, items, v - v_base, self.config)
            divergence = step_weight(self.config, std) * gaussian_divergence(shift, std)
            losses = losses + self.config.kl_weight * divergence
            metrics["divergence"] = divergence.detach()
        return LossOutput(losses=losses, metrics=metrics)
