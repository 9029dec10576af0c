"""DiffusionOPSD: on-policy self-distillation (arXiv:2608.24646), for differentiable scores.

At a state of low noise that the behaviour policy visited, its clean estimate is the anchor; one step up and one step
down the score's own gradient make two targets, which NFT's two branches fit, weighted by the score of the whole image
against its group. Written from public descriptions, not from the paper's text. Departures:

1. The behaviour policy follows with NFT's decay; the descriptions say only that it is an average.
2. One ascent and one descent step (the descriptions allow several). A gradient of zero moves nothing.
3. The base's `kl_weight` is NFT's, off by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fdfo.flow.kinds import evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import velocity_to_clean
from fdfo.flow.solve import integrate
from fdfo.interfaces import Policy, Reward
from fdfo.methods.rows import numbers_of, shared_fields, valid_samples
from fdfo.methods.settings.opsd import OpsdConfig
from fdfo.methods.terms import penalties, scores_of
from fdfo.objectives.advantage import group_advantages
from fdfo.objectives.contrast import contrast
from fdfo.objectives.difference import mean_square, scale_by
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores

OLD = "old"
"""Name of the averaged weights that sample."""


@dataclass(frozen=True, kw_only=True)
class OpsdRollout(Rollout):
    """The state of each trajectory that is asked; float32."""

    t: Tensor  # [B, 1]
    x: Tensor  # [B, 1, C, H, W]
    v_old: Tensor  # [B, 1, C, H, W]


@dataclass(frozen=True, kw_only=True)
class OpsdItems(Items):
    """One row of each sample: [B, 1, ...] or [n, ...]."""

    t: Tensor  # [n]
    x: Tensor  # [n, C, H, W]
    v_old: Tensor  # [n, C, H, W]
    advantage: Tensor  # [n]


class OPSD:
    """The method of the descriptions."""

    Config: ClassVar[type[OpsdConfig]] = OpsdConfig

    def __init__(self, config: OpsdConfig):
        self.config = config
        self.needs_scores = self.differentiates_reward = True
        self.needs_score_gradient = False
        self.group_size, self.trained_times = config.group_size, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = 2, 0
        self.averages, self.memory = {OLD: self._decay}, None
        self.metrics = ("target_step", "velocity_change", "velocity_rms", *config.penalty_metrics)

    def _decay(self, epoch: int) -> float:
        return min(self.config.old_decay_rate * epoch, self.config.old_decay_limit)

    def sampling_evaluations(self, num_prompts: int) -> float:
        """All steps of each image; the velocity at the state that is asked is one of them."""
        return num_prompts * self.group_size * evaluations(self.config.steps, self.config.solver)

    @torch.no_grad()
    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> OpsdRollout:
        """Sample a group per prompt from the behaviour policy, and keep the state nearest to `query_time`."""
        samples = numbers_of(prompts, self.group_size)
        grid = policy.grid(self.config.steps)
        asked = float(grid[:-1][(grid[:-1] - self.config.query_time).abs().argmin()])
        conditioning = policy.encode([prompt.text for prompt in prompts])
        cond = conditioning.repeat(self.group_size)
        found: list[tuple[Tensor, Tensor]] = []

        def velocity(x: Tensor, t: float | Tensor) -> Tensor:
            v = policy.velocity(x, t, cond, weights=OLD)
            if isinstance(t, float) and t == asked and not found:
                found.append((x, v))
            return v

        start = noise.normal(policy.latent_shape, "start", samples).to(policy.device)
        x0 = integrate(velocity, start, grid.tolist(), self.config.solver)
        ((x, v_old),) = found
        return OpsdRollout(
            prompts=prompts,
            conditioning=conditioning,
            group_size=self.group_size,
            x0=x0,
            t=torch.full((len(samples), 1), asked, device=x0.device),
            x=x[:, None],
            v_old=v_old[:, None],
        )

    def credit(self, rollout: Rollout, scores: Scores) -> OpsdItems:
        """One row per sample of the groups in which every score is valid."""
        assert isinstance(rollout, OpsdRollout)
        config, valid = self.config, valid_samples(scores, self.group_size)
        keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
        spread = scores.batch_std if config.spread == "batch" else None
        advantages = group_advantages(scores.total[valid], self.group_size, spread)
        return OpsdItems(
            **shared_fields(rollout, valid, 1),
            t=rollout.t[keep],
            x=rollout.x[keep],
            v_old=rollout.v_old[keep],
            advantage=advantages.clamp(-config.advantage_clip, config.advantage_clip).to(rollout.x0)[:, None],
        )

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """NFT's contrast of a target above and one below the anchor, at the scale of the advantages."""
        assert isinstance(items, OpsdItems)
        config, cond = self.config, items.cond
        anchor = velocity_to_clean(items.x, items.v_old, items.t)
        step = self._step(policy, reward, anchor, items)
        v = policy.velocity(items.x, items.t, cond)
        clean = velocity_to_clean(items.x, v, items.t)
        optimality = items.advantage / (2 * config.advantage_clip) + 0.5
        losses = config.advantage_clip * contrast(clean, anchor, anchor + step, anchor - step, optimality, config.beta)
        penalty, metrics = penalties(config, policy, v, items.x, items.t, cond)
        metrics["target_step"] = mean_square(step).sqrt()
        metrics["velocity_change"] = mean_square(v.detach() - items.v_old).sqrt()
        metrics["velocity_rms"] = mean_square(v.detach()).sqrt()
        return LossOutput(losses=losses + penalty, metrics=metrics)

    def _step(self, policy: Policy, reward: Reward, anchor: Tensor, items: OpsdItems) -> Tensor:
        """Step [n, C, H, W] up the score's gradient at the anchor, `radius` times as long as it; 0 where it failed."""
        place = anchor.detach().requires_grad_()
        score = scores_of(policy, reward, place, items)
        (gradient,) = torch.autograd.grad(score.nansum(), place)
        length = mean_square(gradient).sqrt()
        is_found = length > 0
        size = self.config.radius * mean_square(anchor).sqrt() / length.where(is_found, 1.0)
        return scale_by(gradient, size.where(is_found, 0.0)).detach()
