"""FDFO: finite difference flow optimization (arXiv:2603.12893).

Two images that share their starting noise and differ by weak noise on the way are scored; the velocity along
both trajectories is pulled toward the better one. Departures from the paper:

1. The items of an epoch are dealt to its updates per trajectory and stratified over time, not shuffled as a whole,
   so that the partition does not depend on the number of processes (training/batching.py).
2. The surrogate is bounded far outside its trust region (`trusted`); within four times its width it is the paper's, to
   the last digit.
3. Beyond the paper, off by default: `branches` other than 2, `trained_times`, `shared_steps`, `solver`, `direction`,
   `credit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fdfo.config.bounds import Images, Positive, Steps, StepsFromZero
from fdfo.flow import strength
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.perturb import overshoot_time, perturbation, perturbed_step, renoise_start
from fdfo.flow.solve import MeanVelocity, Solver
from fdfo.interfaces import Policy, Reward
from fdfo.methods.metrics import RATIO_METRICS, ratio_metrics
from fdfo.methods.recorder import Recorder, spread_slots
from fdfo.methods.rows import numbers_of, shared_fields, valid_samples
from fdfo.methods.terms import PenaltyConfig, penalties
from fdfo.objectives.difference import (
    gradient_differences,
    group_differences,
    mean_square,
    normalized_direction,
    pair_differences,
)
from fdfo.objectives.surrogate import bounded_spo, spo, velocity_log_ratio
from fdfo.records import Items, LossOutput, Prompt, Rollout, Scores


class FdfoConfig(PenaltyConfig):
    """Defaults are the reference setting (SD3.5-Medium, arXiv:2603.12893)."""

    name: Literal["fdfo"] = "fdfo"
    strength: Annotated[float, Field(gt=0, le=1)] = 0.0025
    """Strength g of the perturbation at every time; for other schedules its mean weight."""
    schedule: Literal["uniform", "random_interval", "prior_only"] = "uniform"
    """Where along the trajectory the perturbation acts."""
    interval_width: Positive = 0.1
    """Standard deviation in t of the random interval (ours)."""
    steps: Steps = 40
    """Sampling steps T."""
    solver: Solver = "euler"
    """Solver of the steps."""
    branches: Images = 2
    """Samples per start: 2 is the pair, more use all pairs, 1 is a single trajectory against the batch's mean score."""
    shared_steps: StepsFromZero = 0
    """First steps that the branches share; they are sampled once, and the branches part at their end."""
    trained_times: Steps | Literal["all"] = "all"
    """Times of each trajectory that are trained on, evenly spread from a random offset; unbiased."""
    direction: Literal["finite_difference", "score_gradient"] = "finite_difference"
    """Where the direction comes from; score_gradient needs a differentiable reward."""
    credit: Literal["whole", "step"] = "whole"
    """whole: the difference of the images at every step; step: the difference of the noise added by that step."""
    clip_range: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """Trusted change of the ratio, c of SPO."""
    trusted: Annotated[Positive, Field(gt=1)] | None = 4.0
    """SPO holds as far as so many times the edges of its trust region; beyond, its force stays what it is there (ours;
    the same until a row is that far out). null: nowhere bounded, as published."""

    @model_validator(mode="after")
    def _fits(self) -> "FdfoConfig":
        if self.trained_times != "all" and self.trained_times > self.steps:
            raise ValueError(f"trained_times={self.trained_times} exceeds steps={self.steps}; use 'all' or fewer")
        if self.shared_steps >= self.steps:
            raise ValueError(f"shared_steps={self.shared_steps} must be below steps={self.steps}")
        if self.schedule == "prior_only" and (self.shared_steps > 0 or self.credit == "step"):
            raise ValueError("schedule=prior_only perturbs the start alone; it needs shared_steps=0 and credit=whole")
        if self.credit == "step" and self.steps == 1:
            raise ValueError("credit=step needs more than one step; the last one adds no noise")
        if self.direction == "score_gradient" and self.credit == "step":
            raise ValueError("credit=step has no meaning with direction=score_gradient; use credit=whole")
        return self


@dataclass(frozen=True, kw_only=True)
class FdfoRollout(Rollout):
    """Trained states of every trajectory; B samples, K trained times. All float32 but x and v."""

    t: Tensor  # [B, K] trained times
    x: Tensor  # [B, K, C, H, W] states there, in the policy's state_dtype
    v: Tensor  # [B, K, C, H, W] velocities there, in its velocity_dtype
    added: Tensor | None  # [B, K, C, H, W] noise displacement added by the step from t, for credit = step
    action: Tensor | None  # [B, C, H, W] sum of all noise displacements, for a single branch


@dataclass(frozen=True, kw_only=True)
class FdfoItems(Items):
    """Rows (sample, time): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
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
        self.group_size = config.branches
        self.trained_times = config.steps if config.trained_times == "all" else config.trained_times
        self.row_evaluations = self.kept_evaluations = 1
        self.row_forwards = config.penalty_forwards
        self.row_latents, self.row_velocities = int(config.credit == "step"), 1
        self.averages, self.memory = {}, None
        self.metrics = RATIO_METRICS + config.penalty_metrics

    # ---- rollout ----

    def sampling_evaluations(self, num_prompts: int) -> float:
        """Shared steps once per prompt, the others once per branch; Heun doubles all but the last."""
        shared, steps, branches = self.config.shared_steps, self.config.steps, self.config.branches
        own = steps - shared
        rows = shared + own * branches
        if self.config.solver == "heun":
            rows += shared + (own - 1) * branches
        return num_prompts * rows

    @torch.no_grad()
    def rollout(self, policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams) -> FdfoRollout:
        """Sample `branches` trajectories per prompt and keep the trained states."""
        config, branches = self.config, self.config.branches
        numbers = [prompt.number for prompt in prompts]
        samples = numbers_of(prompts, branches)
        grid = policy.grid(config.steps)
        g = self._strengths(grid, numbers, noise).to(policy.device)  # [B, T + 1]
        conditioning = policy.encode([prompt.text for prompt in prompts])
        cond = conditioning  # one row per state: a prompt while the branches are one, then a sample
        names = ("t", "x", "v", "added") if config.credit == "step" else ("t", "x", "v")
        record = Recorder(self._trained_slots(numbers, noise), names)

        def noise_at(j: int) -> Tensor:
            return noise.normal(policy.latent_shape, "perturb", samples, j).to(policy.device, non_blocking=True)

        x = noise.normal(policy.latent_shape, "start", numbers).to(policy.device)  # [P, C, H, W]
        action = torch.zeros_like(x).repeat_interleave(branches, 0)
        if config.shared_steps == 0:
            start = x.repeat_interleave(branches, 0)
            x, cond = renoise_start(start, g[:, 0], noise_at(0)), conditioning.repeat(branches)
            action = x - start
        solver = MeanVelocity(lambda x, t: policy.velocity(x, t, cond), config.solver)
        for i, (t, s) in enumerate(pairwise(grid.tolist())):
            v = policy.velocity(x, t, cond)
            is_perturbed = i + 1 >= config.shared_steps and s > 0
            r = overshoot_time(s, g[:: len(g) // len(x), i + 1]) if is_perturbed else s  # one for each row of x
            mean_v = solver(x, v, t, r)
            record.visit(i, t=t, x=x.to(policy.state_dtype), v=v.to(policy.velocity_dtype))
            if i + 1 == config.shared_steps:  # the branches part at the end of this step
                x, mean_v = x.repeat_interleave(branches, 0), mean_v.repeat_interleave(branches, 0)
                cond = conditioning.repeat(branches)
                solver.split(branches)
            if not is_perturbed:
                x = x + (s - t) * mean_v
                continue
            before, x = x, perturbed_step(x, mean_v, t, s, g[:, i + 1], noise_at(i + 1))
            added = perturbation(x, before, mean_v, t, s)
            record.visit(i, added=added)
            action += added
        return FdfoRollout(
            prompts=prompts,
            conditioning=conditioning,
            group_size=branches,
            x0=x,
            action=action if branches == 1 else None,
            t=record.store("t"),
            x=record.store("x"),
            v=record.store("v"),
            added=record.store("added") if config.credit == "step" else None,
        )

    def _strengths(self, grid: Tensor, numbers: Sequence[int], noise: NoiseStreams) -> Tensor:
        """g of every sample at every time of the grid: [B, T + 1]."""
        config, size = self.config, len(numbers)
        if config.schedule == "uniform":
            g = strength.uniform(grid, config.strength, size)
        elif config.schedule == "prior_only":
            g = strength.prior_only(grid, config.strength, size)
        else:
            centre = noise.normal((), "interval", numbers)
            g = strength.random_interval(grid, config.strength, centre, config.interval_width)
        return g.repeat_interleave(config.branches, 0)

    def _trained_slots(self, numbers: Sequence[int], noise: NoiseStreams) -> Tensor:
        """Steps of every sample that are trained on, [B, K]: evenly spaced from a random offset, one per group."""
        slots = spread_slots(self.config.steps, self.trained_times, noise.uniform("trained times", numbers))
        return slots.repeat_interleave(self.config.branches, 0)

    # ---- credit ----

    def credit(self, rollout: Rollout, scores: Scores) -> FdfoItems:
        """One row per (sample, trained time) of the groups in which every score is valid."""
        assert isinstance(rollout, FdfoRollout)
        valid = valid_samples(scores, rollout.group_size)
        keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
        total = scores.total[valid].to(rollout.x0.device)
        if self.config.credit == "step":
            assert rollout.added is not None
            parts = [self._direction(added[keep], total, scores) for added in rollout.added.unbind(1)]
            direction = torch.stack([part[0] for part in parts], 1)
            slope = parts[0][1]
        else:
            ends = rollout.x0 if rollout.action is None else rollout.action
            gradient = None if scores.gradient is None else scores.gradient[keep]
            direction, slope = self._direction(ends[keep], total, scores, gradient)
            direction = direction[:, None].expand_as(rollout.x[keep])
        times = rollout.t.shape[1]
        return FdfoItems(
            **shared_fields(rollout, valid, times),
            t=rollout.t[keep],
            x=rollout.x[keep],
            v_ref=rollout.v[keep],
            direction=direction,
            slope=slope.to(rollout.x0)[:, None].expand(-1, times),
        )

    def _direction(
        self, ends: Tensor, total: Tensor, scores: Scores, gradient: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Direction [B, C, H, W] and slope [B] of every sample, from what the branches ended in."""
        branches = self.config.branches
        if gradient is not None:
            return gradient_differences(ends, gradient, branches)
        if branches == 1:
            return normalized_direction(ends), total - scores.batch_mean
        if branches > 2:
            return group_differences(ends, total, branches)
        gap, slope = pair_differences(ends, total)
        direction = normalized_direction(gap)
        both = torch.stack([direction, -direction], 1).flatten(0, 1)
        return both, torch.stack([slope, -slope], 1).flatten()

    # ---- loss ----

    def loss(self, policy: Policy, items: Items, reward: Reward) -> LossOutput:
        """SPO on the velocity's log ratio, plus the optional distance to the base."""
        assert isinstance(items, FdfoItems)
        config, cond = self.config, items.cond
        v = policy.velocity(items.x, items.t, cond)
        log_ratio = velocity_log_ratio(v, items.v_ref.float(), items.direction)
        if config.trusted is None:
            losses = spo(log_ratio, items.slope, config.clip_range)
        else:
            reach = mean_square(items.direction)
            losses = bounded_spo(log_ratio, items.slope, reach, config.clip_range, config.trusted)
        penalty, metrics = penalties(config, policy, v, items.x, items.t, cond)
        metrics |= ratio_metrics(log_ratio, config.clip_range, v)
        return LossOutput(losses=losses + penalty, metrics=metrics)
