"""A loss that regresses the velocity on a step away from the recorded one: what ART, and FDFO on the way to it, use.

n rows.
"""

import torch
from torch import Tensor

from fdfo.flow.transition import transition
from fdfo.interfaces import Policy
from fdfo.methods.settings.stepping import StepConfig
from fdfo.objectives.difference import mean_square
from fdfo.objectives.penalty import gaussian_divergence
from fdfo.objectives.regression import goes_on, stepped_target, weighted_error

STEP_METRICS = ("ratio_change", "clip_fraction", "velocity_rms")


def step_losses(
    config: StepConfig,
    policy: Policy,
    steps: int,
    *,
    v: Tensor,
    v_old: Tensor,
    vector: Tensor,
    t: Tensor,
    s: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses [n] of velocities v [n, C, H, W] on v_old - (move / t) vector, and metrics; t and s are [n].

    ratio_change is the divergence, clip_fraction the share of rows beyond its limit.
    """
    target = stepped_target(v_old, vector, t, config.move)
    losses = weighted_error(v, target, t, config.error_weighting)
    moved = v.detach() - v_old
    second = float(policy.grid(steps)[1])
    shift, std = transition("sde", torch.zeros_like(moved), moved, t, s, second, config.movement_noise)
    divergence = gaussian_divergence(shift, std)
    is_far = torch.zeros_like(divergence, dtype=torch.bool)
    if config.movement_limit is not None:
        is_far = divergence > config.movement_limit
        losses = losses.where(~(is_far & goes_on(v.detach(), v_old, target)), 0.0)
    metrics = {
        "ratio_change": divergence,
        "clip_fraction": is_far.float(),
        "velocity_rms": mean_square(v.detach()).sqrt(),
    }
    return losses, metrics
