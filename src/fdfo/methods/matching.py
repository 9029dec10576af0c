"""Images of an ODE solver, re-noised at fresh times: what the forward-process methods NFT, AWM and RVM share.

B samples of P prompts, K fresh times of each. At x_t = (1 - t) x0 + t eps the velocity is matched to eps - x0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdfo.flow.grid import times_at
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import interpolate
from fdfo.flow.solve import integrate
from fdfo.interfaces import Policy, Weights
from fdfo.methods.rows import numbers_of, shared_fields, valid_samples
from fdfo.methods.settings.matching import MatchingConfig
from fdfo.objectives.advantage import group_advantages
from fdfo.records import Items, Prompt, Rollout, Scores


@dataclass(frozen=True, kw_only=True)
class MatchingRollout(Rollout):
    """Re-noised images; all float32, in order of decreasing time."""

    t: Tensor  # [B, K]
    eps: Tensor  # [B, K, C, H, W]
    v_old: Tensor | None  # [B, K, C, H, W] velocity of the behaviour policy at x_t, where the loss compares with it


@dataclass(frozen=True, kw_only=True)
class MatchingItems(Items):
    """Rows (sample, fresh time): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    x0: Tensor  # [n, C, H, W]
    eps: Tensor  # [n, C, H, W]
    advantage: Tensor  # [n]

    @property
    def x(self) -> Tensor:
        """States x_t [n, C, H, W]."""
        return interpolate(self.x0, self.eps, self.t)

    @property
    def target(self) -> Tensor:
        """Velocity eps - x0 [n, C, H, W] that leads from the noise to this image."""
        return self.eps - self.x0


@dataclass(frozen=True, kw_only=True)
class ComparedItems(MatchingItems):
    """Rows with the behaviour policy's velocity."""

    v_old: Tensor  # [n, C, H, W]


@torch.no_grad()
def sample_and_renoise(
    policy: Policy,
    prompts: Sequence[Prompt],
    noise: NoiseStreams,
    config: MatchingConfig,
    weights: Weights = "current",
    is_compared: bool = True,
) -> MatchingRollout:
    """Sample a group per prompt with `weights`, re-noise it, and evaluate the same weights there if compared."""
    samples = numbers_of(prompts, config.group_size)
    grid, shape = policy.grid(config.steps), policy.latent_shape
    conditioning = policy.encode([prompt.text for prompt in prompts])
    cond = conditioning.repeat(config.group_size)

    def velocity(x: Tensor, t: float | Tensor) -> Tensor:
        return policy.velocity(x, t, cond, weights=weights)

    start = noise.normal(shape, "start", samples).to(policy.device)
    x0 = integrate(velocity, start, grid.tolist(), config.solver)
    slots = range(config.trained_times)
    t = torch.stack([_fresh_times(samples, noise, k, grid, config) for k in slots], 1).to(x0)
    eps = torch.stack([noise.normal(shape, "fresh noise", samples, k) for k in slots], 1).to(x0)
    v_old = None
    if is_compared:
        v_old = torch.stack([velocity(interpolate(x0, eps[:, k], t[:, k]), t[:, k]) for k in slots], 1)
    return MatchingRollout(
        prompts=prompts,
        conditioning=conditioning,
        group_size=config.group_size,
        x0=x0,
        t=t,
        eps=eps,
        v_old=v_old,
    )


def _fresh_times(
    samples: Sequence[int], noise: NoiseStreams, slot: int, grid: Tensor, config: MatchingConfig
) -> Tensor:
    """A time of every sample in one of the equal parts of the density: [B] float32."""
    position = (slot + noise.uniform("fresh time", samples, slot)) / config.trained_times  # in [0, 1), float64
    if config.time_density == "grid":
        there = config.grid_times
        return grid[there.start + (position * len(there)).long()]
    return times_at(grid[:-1] if config.time_density == "sampler" else torch.tensor([1.0, 0.0]), position)


def matching_items(rollout: MatchingRollout, scores: Scores, config: MatchingConfig) -> MatchingItems:
    """One row per fresh time of the groups in which every score is valid; ComparedItems where v_old is there."""
    valid = valid_samples(scores, config.group_size)
    keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
    spread = scores.batch_std if config.spread == "batch" else None
    advantages = group_advantages(scores.total[valid], config.group_size, spread)
    limit, times = config.advantage_clip, config.trained_times
    fields: dict[str, Any] = {
        **shared_fields(rollout, valid, times),
        "t": rollout.t[keep],
        "x0": rollout.x0[keep][:, None].expand_as(rollout.eps[keep]),
        "eps": rollout.eps[keep],
        "advantage": advantages.clamp(-limit, limit).to(rollout.x0)[:, None].expand(-1, times),
    }
    return MatchingItems(**fields) if rollout.v_old is None else ComparedItems(**fields, v_old=rollout.v_old[keep])
