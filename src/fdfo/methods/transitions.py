"""Sampling by Gaussian transitions, and the rows of its steps: what Flow-GRPO and DDPO share.

B samples of P prompts, T steps, K of them trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.transition import transition
from fdfo.interfaces import Policy
from fdfo.methods.metrics import ratio_metrics
from fdfo.methods.recorder import Recorder, spread_slots
from fdfo.methods.rows import numbers_of, shared_fields
from fdfo.methods.settings.transitions import TransitionConfig
from fdfo.objectives.surrogate import gaussian_log_ratio
from fdfo.records import Items, Prompt, Rollout

Metrics = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class TransitionRollout(Rollout):
    """The trained steps of every trajectory; all float32."""

    t: Tensor  # [B, K] time of each step
    s: Tensor  # [B, K] time it leads to
    x: Tensor  # [B, K, C, H, W] state at t
    v: Tensor  # [B, K, C, H, W] velocity there
    noise: Tensor  # [B, K, C, H, W] standard normal noise that the step added


@dataclass(frozen=True, kw_only=True)
class TransitionItems(Items):
    """Rows (sample, trained step): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    s: Tensor  # [n]
    x: Tensor  # [n, C, H, W]
    v_ref: Tensor  # [n, C, H, W]
    noise: Tensor  # [n, C, H, W]
    advantage: Tensor  # [n]


@torch.no_grad()
def sample_transitions(
    policy: Policy,
    prompts: Sequence[Prompt],
    noise: NoiseStreams,
    config: TransitionConfig,
    first: Tensor,
    group_size: int,
    shares_prefix: bool = False,
) -> TransitionRollout:
    """Sample `group_size` trajectories a prompt and keep the trained steps.

    The `stochastic_steps` from first [P] int64 on are stochastic, the others Euler steps of the ODE. Every trajectory
    has its own start; where the prefix is shared, the trajectories of a prompt have one start, and are one until the
    noise of the first stochastic step parts them: what they share is evaluated once.
    """
    samples = numbers_of(prompts, group_size)
    grid = policy.grid(config.steps)
    offset = noise.uniform("trained times", [prompt.number for prompt in prompts])
    slots = first[:, None] + spread_slots(config.stochastic_steps, config.num_trained, offset)  # [P, K]
    record = Recorder(slots.repeat_interleave(group_size, 0), ("t", "s", "x", "v", "noise"))
    first_of_sample = first.repeat_interleave(group_size)
    conditioning = policy.encode([prompt.text for prompt in prompts])
    if shares_prefix:
        x = noise.normal(policy.latent_shape, "start", [prompt.number for prompt in prompts])
        x = x.repeat_interleave(group_size, 0).to(policy.device)
    else:
        x = noise.normal(policy.latent_shape, "start", samples).to(policy.device)
    step = torch.arange(len(grid) - 1)[:, None]
    is_stochastic = (first_of_sample <= step) & (step < first_of_sample + config.stochastic_steps)  # [steps, B]
    levels = config.noise_level * is_stochastic.to(x)  # on the device at once: nothing in the loop waits for it
    has_parted = first_of_sample < step if shares_prefix else torch.ones_like(is_stochastic)  # [steps, B]
    lead, place = _distinct(has_parted, group_size)
    owner = torch.arange(len(prompts)).repeat_interleave(group_size)
    places = place.to(policy.device, non_blocking=True)
    for i, (t, s) in enumerate(pairwise(grid.tolist())):
        rows = lead[i].to(policy.device, non_blocking=True)
        v = policy.velocity(x[rows], t, conditioning[owner[lead[i]]])[places[i]]
        mean, std = transition(config.sampler, x, v, t, s, float(grid[1]), levels[i])
        n = noise.normal(policy.latent_shape, "transition", samples, i).to(x, non_blocking=True)
        record.visit(i, t=t, s=s, x=x, v=v, noise=n)
        x = mean + std * n
    return TransitionRollout(
        prompts=prompts,
        conditioning=conditioning,
        group_size=group_size,
        x0=x,
        t=record.store("t"),
        s=record.store("s"),
        x=record.store("x"),
        v=record.store("v"),
        noise=record.store("noise"),
    )


def _distinct(has_parted: Tensor, group_size: int) -> tuple[list[Tensor], Tensor]:
    """Which samples to evaluate at each step, [n] int64 each, and where among them every sample finds its own: [T, B].

    Samples that have not parted, has_parted [T, B], are evaluated by the first of their group.
    """
    leads = has_parted | (torch.arange(has_parted.shape[1]) % group_size == 0)
    return [row.nonzero().flatten() for row in leads], leads.cumsum(1) - 1


def transition_items(rollout: TransitionRollout, valid: Tensor, advantages: Tensor) -> TransitionItems:
    """Rows of the valid samples [B] bool, whose advantages [number of valid] are those of all their steps."""
    keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
    times = rollout.t.shape[1]
    return TransitionItems(
        **shared_fields(rollout, valid, times),
        t=rollout.t[keep],
        s=rollout.s[keep],
        x=rollout.x[keep],
        v_ref=rollout.v[keep],
        noise=rollout.noise[keep],
        advantage=advantages.to(rollout.x0)[:, None].expand(-1, times),
    )


def mean_shift(
    policy: Policy, items: TransitionItems, change: Tensor, config: TransitionConfig
) -> tuple[Tensor, Tensor]:
    """How far a change [n, ...] of the velocity moves the mean of each row's transition, and its deviation.

    The mean is linear in the velocity, so no two large numbers are subtracted.
    """
    second = float(policy.grid(config.steps)[1])
    nothing = torch.zeros_like(change)
    return transition(config.sampler, nothing, change, items.t, items.s, second, config.noise_level)


def step_weight(config: TransitionConfig, std: Tensor) -> Tensor | float:
    """Factor [n] of a row's log ratio and divergence: 1, but 2 std^2 for coefficient-preserving steps.

    Their noise vanishes toward the image while their means still move, so the ratios of the last steps would drown all
    others; the factor leaves the squared distances without their division.
    """
    return 2 * std.square().flatten() if config.sampler == "cps" else 1.0


def step_log_ratio(
    policy: Policy, items: TransitionItems, v: Tensor, config: TransitionConfig
) -> tuple[Tensor, Metrics]:
    """Log ratio [n] of velocities v to the recorded ones, averaged over elements, with the metrics of both methods."""
    shift, std = mean_shift(policy, items, v - items.v_ref, config)
    log_ratio = step_weight(config, std) * gaussian_log_ratio(shift, std, items.noise)
    return log_ratio, ratio_metrics(log_ratio, config.clip_range, v)
