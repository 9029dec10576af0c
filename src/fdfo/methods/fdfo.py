"""FDFO: finite difference flow optimization (arXiv:2603.12893).

Two images that share their starting noise and differ by weak noise on the way are scored; the velocity along
both trajectories is pulled toward the better one. Departures from the paper:

1. The items of an epoch are dealt to its updates per trajectory and stratified over time, not shuffled as a whole,
   so that the partition does not depend on the number of processes (training/batching.py).
2. The surrogate is bounded far outside its trust region (`trusted`); within four times its width it is the paper's, to
   the last digit.
3. Beyond the paper, off by default: `branches` other than 2, `trained_times`, `shared_steps`, `solver`, `direction`,
   `credit`, `antithetic`; and `weight` and `objective`, which lead to DiffusionART one change at a time
   (methods/art.py, plans/fdfo-to-art.yaml). The paper's ablations are `start: independent`, `deterministic_branch`,
   `time_weight: perturbation`, `normalize_gap: false` and the two other schedules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.interfaces import Policy, Reward
from fdfo.methods.branches import BranchRollout, sample_branches
from fdfo.methods.metrics import RATIO_METRICS, ratio_metrics
from fdfo.methods.rows import shared_fields, valid_samples
from fdfo.methods.settings.fdfo import FdfoConfig
from fdfo.methods.stepping import step_losses
from fdfo.methods.terms import penalties
from fdfo.objectives.difference import (
    gradient_differences,
    group_differences,
    mean_square,
    normalized_direction,
    pair_differences,
    scale_by,
    unit_slope,
)
from fdfo.objectives.surrogate import bounded_spo, spo, velocity_log_ratio
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


@dataclass(frozen=True, kw_only=True)
class FdfoItems(Items):
    """Rows (sample, time): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    s: Tensor  # [n]
    x: Tensor  # [n, C, H, W]
    v_ref: Tensor  # [n, C, H, W]
    direction: Tensor  # [n, C, H, W]
    slope: Tensor  # [n]


class FDFO:
    """The method of the paper and its variants."""

    Config: ClassVar[type[FdfoConfig]] = FdfoConfig

    def __init__(self, config: FdfoConfig):
        self.config = config
        self.needs_scores = True
        self.needs_score_gradient = config.direction == "score_gradient"
        self.differentiates_reward = False
        self.group_size, self.trained_times = config.branches, config.num_trained
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = int(config.credit == "step"), 1
        self.averages, self.memory = {}, None
        self.metrics = RATIO_METRICS + config.penalty_metrics

    def sampling_evaluations(self, num_prompts: int) -> float:
        """Steps that the branches share once per prompt, the others once per branch."""
        return self.config.sampling_evaluations(num_prompts)

    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> BranchRollout:
        """Sample `branches` trajectories per prompt and keep the trained states."""
        return sample_branches(policy, prompts, noise, self.config, keeps_noise=self.config.credit == "step")

    # ---- credit ----

    def credit(self, rollout: Rollout, scores: Scores) -> FdfoItems:
        """One row per (sample, trained time) of the groups in which every score is valid."""
        assert isinstance(rollout, BranchRollout)
        valid = valid_samples(scores, rollout.group_size)
        keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
        total = scores.total[valid].to(rollout.x0.device)
        if self.config.credit == "step":
            assert rollout.added is not None
            parts = [self._direction(added[keep], total, scores) for added in rollout.added.unbind(1)]
            direction = torch.stack([part[0] for part in parts], 1)
            slope = torch.stack([part[1] for part in parts], 1)
        else:
            ends = rollout.x0 if rollout.action is None else rollout.action
            gradient = scores.gradient[keep] if self.needs_score_gradient and scores.gradient is not None else None
            direction, slope = self._direction(ends[keep], total, scores, gradient)
            direction = direction[:, None].expand_as(rollout.x[keep])
            slope = slope[:, None].expand(-1, rollout.t.shape[1])
        slope = slope.to(rollout.x0)
        return FdfoItems(
            **shared_fields(rollout, valid, rollout.t.shape[1]),
            t=rollout.t[keep],
            s=rollout.s[keep],
            x=rollout.x[keep],
            v_ref=rollout.v[keep],
            direction=direction,
            slope=slope if self.config.time_weight == "equal" else slope * rollout.share[keep],
        )

    def _direction(
        self, ends: Tensor, total: Tensor, scores: Scores, gradient: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Direction [B, C, H, W] and slope [B] of every sample, from what the branches ended in."""
        config = self.config
        if gradient is not None:
            direction, slope = gradient_differences(ends, gradient, config.branches)
        elif config.branches == 1:
            direction, slope = self._normalized(ends), total - scores.batch_mean
        elif config.branches > 2:
            direction, slope = group_differences(ends, total, config.branches, normalize=config.normalize_gap)
        else:
            gap, half = pair_differences(ends, total)
            one = self._normalized(gap)
            direction = torch.stack([one, -one], 1).flatten(0, 1)
            slope = torch.stack([half, -half], 1).flatten()
        return direction, unit_slope(direction, slope) if config.weight == "unit" else slope

    def _normalized(self, gap: Tensor) -> Tensor:
        return normalized_direction(gap) if self.config.normalize_gap else gap

    # ---- loss ----

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """SPO on the velocity's log ratio, or the regression, plus the optional penalties."""
        assert isinstance(items, FdfoItems)
        config, cond = self.config, items.cond
        v, v_ref = policy.velocity(items.x, items.t, cond), items.v_ref.to(items.direction)
        if config.objective == "regression":
            vector = scale_by(items.direction, items.slope)
            losses, metrics = step_losses(
                config, policy, config.steps, v=v, v_old=v_ref, vector=vector, t=items.t, s=items.s
            )
        else:
            log_ratio = velocity_log_ratio(v, v_ref, items.direction)
            metrics = ratio_metrics(log_ratio, config.clip_range, v)
            if config.trusted is None:
                losses = spo(log_ratio, items.slope, config.clip_range)
            else:
                reach = mean_square(items.direction)
                losses = bounded_spo(log_ratio, items.slope, reach, config.clip_range, config.trusted)
        penalty, more = penalties(config, policy, v, items.x, items.t, cond)
        return LossOutput(losses=losses + penalty, metrics=metrics | more)
