"""Trajectories of one prompt that differ by their start or by weak noise on the way: what FDFO and ART sample.

B samples of P prompts, N branches of each; T steps, K of them trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fdfo.flow import strength
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.perturb import overshoot_time, perturbation, perturbed_step, renoise_start
from fdfo.flow.solve import MeanVelocity
from fdfo.interfaces import Policy
from fdfo.methods.recorder import Recorder, spread_slots
from fdfo.methods.rows import numbers_of
from fdfo.methods.settings.branches import BranchConfig
from fdfo.records import Prompt, Rollout

WEIGHTS = {"random_interval": (1.0, 0.0), "prior_only": (0.1, 1.0)}
"""Weight and its spread of the schedules (the authors' code; their ablation has 3 for the random interval)."""


@dataclass(frozen=True, kw_only=True)
class BranchRollout(Rollout):
    """Trained states of every trajectory; all float32 but x and v."""

    t: Tensor  # [B, K] trained times
    s: Tensor  # [B, K] times that their steps lead to
    share: Tensor  # [B, K] density of the perturbation there, times T
    x: Tensor  # [B, K, C, H, W] states at t, in the policy's state_dtype
    v: Tensor  # [B, K, C, H, W] velocities there, in its velocity_dtype
    added: Tensor | None  # [B, K, C, H, W] noise displacement added by the step from t, where it is kept
    action: Tensor | None  # [B, C, H, W] sum of all noise displacements, for a single branch


@torch.no_grad()
def sample_branches(
    policy: Policy, prompts: Sequence[Prompt], noise: NoiseStreams, config: BranchConfig, keeps_noise: bool = False
) -> BranchRollout:
    """Sample `branches` trajectories per prompt and keep the trained states, with each step's noise if wanted."""
    branches, numbers = config.branches, [prompt.number for prompt in prompts]
    samples, grid = numbers_of(prompts, branches), policy.grid(config.steps)
    density, g = _schedule(grid, numbers, noise, config)  # [B, T], [B, T + 1]
    g = g.to(policy.device)
    conditioning = policy.encode([prompt.text for prompt in prompts])
    cond = conditioning  # one row per state: a prompt while the branches are one, then a sample
    offset = noise.uniform("trained times", numbers)
    slots = spread_slots(config.steps, config.num_trained, offset).repeat_interleave(branches, 0)
    record = Recorder(slots, ("t", "s", "x", "v", "added") if keeps_noise else ("t", "s", "x", "v"))

    def noise_at(j: int) -> Tensor:
        return _noise(noise, policy, samples, j, config)

    owners = samples if config.start == "independent" else numbers
    x = noise.normal(policy.latent_shape, "start", owners).to(policy.device)  # [P or B, C, H, W]
    action = torch.zeros_like(x).repeat_interleave(len(samples) // len(x), 0)
    if config.shared_steps == 0:
        cond = conditioning.repeat(branches)
        if config.start == "shared":
            start = x.repeat_interleave(branches, 0)
            x = renoise_start(start, g[:, 0], noise_at(0))
            action = x - start
    solver = MeanVelocity(lambda x, t: policy.velocity(x, t, cond), config.solver)
    for i, (t, s) in enumerate(pairwise(grid.tolist())):
        v = policy.velocity(x, t, cond)
        is_perturbed = i + 1 >= config.shared_steps and s > 0
        r = overshoot_time(s, g[:: len(g) // len(x), i + 1]) if is_perturbed else s  # one for each row of x
        mean_v = solver(x, v, t, r)
        record.visit(i, t=t, s=s, x=x.to(policy.state_dtype), v=v.to(policy.velocity_dtype))
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
    return BranchRollout(
        prompts=prompts,
        conditioning=conditioning,
        group_size=branches,
        x0=x,
        action=action if branches == 1 else None,
        t=record.store("t"),
        s=record.store("s"),
        share=(config.steps * density.gather(1, slots)).to(x, non_blocking=True),
        x=record.store("x"),
        v=record.store("v"),
        added=record.store("added") if keeps_noise else None,
    )


def _schedule(grid: Tensor, numbers: Sequence[int], noise: NoiseStreams, config: BranchConfig) -> tuple[Tensor, Tensor]:
    """Density [B, T] of the perturbation and its strength g [B, T + 1] of every sample; one draw per prompt."""
    if config.schedule == "uniform":
        density = strength.uniform_density(grid, len(numbers))
        g = torch.full((len(numbers), len(grid)), config.strength)
    else:
        weight, spread = WEIGHTS[config.schedule]
        weight = weight if config.schedule_weight is None else config.schedule_weight
        spread = spread if config.schedule_spread is None else config.schedule_spread
        if config.schedule == "prior_only":
            density = strength.prior_density(grid, len(numbers))
        else:
            centre = config.interval_centre + config.interval_spread * noise.normal((), "interval", numbers)
            density = strength.interval_density(grid, centre, config.interval_width)
        draws = noise.normal((), "schedule weight", numbers)
        g = strength.strengths(density, strength.schedule_weights(weight, spread, draws))
    density, g = density.repeat_interleave(config.branches, 0), g.repeat_interleave(config.branches, 0)
    if config.deterministic_branch:
        g[:: config.branches] = 0
    return density, g


def _noise(noise: NoiseStreams, policy: Policy, samples: Sequence[int], step: int, config: BranchConfig) -> Tensor:
    """Noise [B, C, H, W] of every sample at a step, on the policy's device."""
    drawn = noise.normal(policy.latent_shape, "perturb", samples[::2] if config.antithetic else samples, step)
    one = drawn.to(policy.device, non_blocking=True)
    return torch.stack([one, -one], 1).flatten(0, 1) if config.antithetic else one
