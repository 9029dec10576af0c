"""Images of an ODE solver, re-noised at fresh times: what the forward-process methods NFT and AWM share.

B samples of P prompts, K fresh times of each. At x_t = (1 - t) x0 + t eps the velocity is matched to eps - x0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from fdfo.config.bounds import Images, Positive, Steps
from fdfo.config.section import Section
from fdfo.flow.grid import times_at
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import interpolate
from fdfo.flow.solve import Solver, evaluations, integrate
from fdfo.interfaces import Policy, Weights
from fdfo.methods.rows import numbers_of, shared_fields, valid_samples
from fdfo.objectives.advantage import group_advantages
from fdfo.records import Items, Prompt, Rollout, Scores


class MatchingConfig(Section):
    """How images are sampled, re-noised and compared; defaults are DiffusionNFT's and Flow-GRPO's."""

    steps: Annotated[Steps, Field(ge=2)] = 10
    """Sampling steps T of training, at least 2; evaluation has its own number."""
    solver: Solver = "euler"
    """Solver of the steps; of the trajectory, only its end is used."""
    group_size: Annotated[Images, Field(ge=2)] = 24
    """Images G of a prompt, compared with each other (DiffusionNFT: 24)."""
    trained_times: Steps = 10
    """Fresh times of each image, one in each of as many equal parts of the density (as many as steps)."""
    time_density: Literal["sampler", "uniform"] = "sampler"
    """sampler: as dense as the grid's times, down to its last one before 0; uniform: in t (ours)."""
    spread: Literal["group", "batch"] = "batch"
    """Whose standard deviation divides the advantages (Flow-GRPO: batch)."""
    advantage_clip: Positive = 5.0
    """Largest absolute advantage (DiffusionNFT, Flow-GRPO: 5)."""

    def sampling_evaluations(self, num_prompts: int) -> int:
        """Velocity evaluations of the trajectories, and of the behaviour policy at the fresh times."""
        return num_prompts * self.group_size * (evaluations(self.steps, self.solver) + self.trained_times)


@dataclass(frozen=True, kw_only=True)
class MatchingRollout(Rollout):
    """Re-noised images; all float32, in order of decreasing time."""

    t: Tensor  # [B, K]
    eps: Tensor  # [B, K, C, H, W]
    v_old: Tensor  # [B, K, C, H, W] velocity of the behaviour policy at x_t


@dataclass(frozen=True, kw_only=True)
class MatchingItems(Items):
    """Rows (sample, fresh time): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    x0: Tensor  # [n, C, H, W]
    eps: Tensor  # [n, C, H, W]
    v_old: Tensor  # [n, C, H, W]
    advantage: Tensor  # [n]

    @property
    def x(self) -> Tensor:
        """States x_t [n, C, H, W]."""
        return interpolate(self.x0, self.eps, self.t)


@torch.no_grad()
def sample_and_renoise(
    policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams, config: MatchingConfig, weights: Weights
) -> MatchingRollout:
    """Sample a group per prompt with `weights`, re-noise its images, and evaluate the same weights there."""
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
    position = (slot + noise.uniform("fresh time", samples, slot)) / config.trained_times
    return times_at(grid[:-1] if config.time_density == "sampler" else torch.tensor([1.0, 0.0]), position)


def matching_items(rollout: MatchingRollout, scores: Scores, config: MatchingConfig) -> MatchingItems:
    """One row per fresh time of the groups in which every score is valid."""
    valid = valid_samples(scores, config.group_size)
    keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
    spread = scores.batch_std if config.spread == "batch" else None
    advantages = group_advantages(scores.total[valid], config.group_size, spread)
    limit, times = config.advantage_clip, config.trained_times
    return MatchingItems(
        **shared_fields(rollout, valid, times),
        t=rollout.t[keep],
        x0=rollout.x0[keep][:, None].expand_as(rollout.eps[keep]),
        eps=rollout.eps[keep],
        v_old=rollout.v_old[keep],
        advantage=advantages.clamp(-limit, limit).to(rollout.x0)[:, None].expand(-1, times),
    )
