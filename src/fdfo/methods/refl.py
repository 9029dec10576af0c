"""ReFL: reward feedback learning (arXiv:2304.05977), on flows.

Sample to a random late step without gradient, predict the clean image from there with one velocity, and follow the
score's own gradient through it. Departures from the paper:

1. The flow's predicted clean image x - t v takes the place of DDPM's.
2. Each image has a late step of its own; the paper draws one for the whole batch.
3. The trajectory is sampled to its end and scored once without gradient: the reported score is that of real samples,
   and images whose score fails are dropped. It costs an eighth more sampling.
4. The paper adds the pre-training loss on real images; here `kl_weight` holds the velocity near the base instead.
"""

from collections.abc import Sequence
from math import ceil
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from fdfo.config.bounds import NonNegative, Positive, Steps, Threshold
from fdfo.config.section import Section
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import velocity_to_clean
from fdfo.flow.solve import Solver, evaluations, integrate
from fdfo.interfaces import Policy, Reward
from fdfo.methods.recorder import Recorder
from fdfo.methods.rows import numbers_of
from fdfo.methods.states import StateItems, StateRollout, state_items
from fdfo.methods.terms import distance_to, scores_of
from fdfo.objectives.difference import mean_square
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class ReflConfig(Section):
    """Defaults are the published setting."""

    name: Literal["refl"] = "refl"
    steps: Steps = 40
    """Sampling steps T (ReFL: 40)."""
    solver: Solver = "euler"
    """Solver of the steps."""
    late_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the steps, the last ones, of which one is drawn (ReFL: the last quarter)."""
    margin: Threshold | None = None
    """Scores above it are good enough: loss max(margin - R, 0) (ReFL: 2 for ImageReward); null: loss -R."""
    weight: Positive = 1.0e-3
    """Factor of the score's part of the loss (ReFL: 1e-3)."""
    kl_weight: NonNegative = 0.0
    """Weight of the squared velocity distance to the base."""


class ReFL:
    """The method of the paper."""

    Config: ClassVar[type[ReflConfig]] = ReflConfig

    def __init__(self, config: ReflConfig):
        self.config = config
        self.needs_score_gradient, self.differentiates_reward = False, True
        self.group_size = self.trained_times = 1
        self.row_evaluations = self.kept_evaluations = 1
        self.row_latents, self.row_velocities = 1, 0
        self.averages, self.memory = {}, None
        self.metrics = ("predicted_score", "velocity_rms")
        if config.kl_weight > 0:
            self.metrics += ("velocity_distance",)

    def sampling_evaluations(self, num_prompts: int) -> int:
        """All steps of one trajectory per prompt."""
        return num_prompts * evaluations(self.config.steps, self.config.solver)

    @torch.no_grad()
    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> StateRollout:
        """Sample one trajectory per prompt and keep the state at its late step."""
        samples = numbers_of(prompts, self.group_size)
        record = Recorder(self._late_steps(samples, noise), ("t", "x"))
        cond = policy.encode([prompt.text for prompt in prompts])
        start = noise.normal(policy.latent_shape, "start", samples).to(policy.device)
        x0 = integrate(
            lambda x, t: policy.velocity(x, t, cond),
            start,
            policy.grid(self.config.steps).tolist(),
            self.config.solver,
            lambda i, t, x: record.visit(i, t=t, x=x),
        )
        return StateRollout(
            prompts=prompts,
            conditioning=cond,
            group_size=self.group_size,
            x0=x0,
            t=record.store("t"),
            x=record.store("x"),
        )

    def _late_steps(self, samples: Sequence[int], noise: NoiseStreams) -> Tensor:
        """The step of every sample, uniform over the late ones: [B, 1] int64."""
        steps = self.config.steps
        late = ceil(steps * self.config.late_share)
        return steps - late + (noise.uniform("late step", samples) * late).long()[:, None]

    def credit(self, rollout: Rollout, scores: Scores) -> StateItems:
        """One row per sample with a valid score."""
        assert isinstance(rollout, StateRollout)
        return state_items(rollout, scores)

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """Minus the score of the predicted image, as far as it is below the margin."""
        assert isinstance(items, StateItems)
        config, cond = self.config, items.cond
        v = policy.velocity(items.x, items.t, cond)
        score = scores_of(policy, reward, velocity_to_clean(items.x, v, items.t), items)
        losses = (config.weight * (-score if config.margin is None else torch.relu(config.margin - score))).to(v)
        metrics = {"predicted_score": score.detach(), "velocity_rms": mean_square(v.detach()).sqrt()}
        if config.kl_weight > 0:
            distance = distance_to("base", policy, v, items.x, items.t, cond)
            losses = losses + config.kl_weight * distance
            metrics["velocity_distance"] = distance.detach()
        return LossOutput(losses=losses, metrics=metrics)
