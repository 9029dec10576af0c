"""ReFL: reward feedback learning (arXiv:2304.05977), on flows.

Sample to a random late step without gradient, predict the clean image from there with one velocity, and follow the
score's own gradient through it. Departures from the paper:

1. The flow's predicted clean image x - t v takes the place of DDPM's.
2. Each image has a late step of its own, all of them equally often in an epoch; the paper draws one for a batch.
3. The paper adds the pre-training loss on real images; here `kl_weight` holds the velocity near the base instead.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from fdfo.flow.kinds import evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import velocity_to_clean
from fdfo.interfaces import Policy, Reward
from fdfo.methods.rows import numbers_of, rotated
from fdfo.methods.settings.refl import ReflConfig
from fdfo.methods.states import StateItems, StateRollout, sample_to, scored_loss, state_items
from fdfo.methods.terms import penalties, scores_of
from fdfo.objectives.difference import mean_square
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class ReFL:
    """The method of the paper."""

    Config: ClassVar[type[ReflConfig]] = ReflConfig

    def __init__(self, config: ReflConfig):
        self.config = config
        self.needs_scores = self.needs_score_gradient = False
        self.differentiates_reward = True
        self.group_size, self.trained_times = 1, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = 1, 0
        self.averages, self.memory = {}, None
        self.metrics = ("velocity_rms", *config.penalty_metrics)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """The steps before the late one of each image."""
        late = self.config.late_steps
        return num_prompts * sum(evaluations(step, self.config.solver, reaches_zero=False) for step in late) / len(late)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> StateRollout:
        """Sample one trajectory per prompt as far as the state at its late step."""
        grid = policy.grid(self.config.steps)
        steps = self._late_steps(numbers_of(prompts, self.group_size), noise)
        conditioning = policy.encode([prompt.text for prompt in prompts])
        x = sample_to(steps, policy, prompts, conditioning, noise, grid, self.config.solver)
        return StateRollout(
            prompts=prompts,
            conditioning=conditioning,
            group_size=self.group_size,
            x0=x,
            step=steps[:, None],
            t=grid[steps, None].to(x, non_blocking=True),
            x=x[:, None],
        )

    def _late_steps(self, samples: Sequence[int], noise: NoiseStreams) -> Tensor:
        """The step of every sample, one of the late ones: [B] int64."""
        late = self.config.late_steps
        return late.start + rotated(samples, noise, len(late))

    def credit(self, rollout: Rollout, scores: Scores) -> StateItems:
        """One row per sample."""
        assert isinstance(rollout, StateRollout)
        return state_items(rollout, scores)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Minus the score of the predicted image, as far as it is below the margin."""
        assert isinstance(items, StateItems)
        config, cond = self.config, items.cond
        v = policy.velocity(items.x, items.t, cond)
        score = scores_of(policy, reward, velocity_to_clean(items.x, v, items.t), items)
        losses = config.weight * (-score if config.margin is None else torch.relu(config.margin - score))
        penalty, metrics = penalties(config, policy, v, items.x, items.t, cond)
        metrics["velocity_rms"] = mean_square(v.detach()).sqrt()
        return LossOutput(losses=scored_loss(losses, score, v) + penalty, metrics=metrics)
