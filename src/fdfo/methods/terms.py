"""Terms of a loss that need another evaluation of the policy or the reward; one value for each row [n]."""

import torch
from torch import Tensor

from fdfo.interfaces import Policy, Reward, Weights
from fdfo.methods.settings.terms import PenaltyConfig
from fdfo.objectives.penalty import norm_excess, velocity_distance
from fdfo.records import Conditioning, Items


def penalties(
    config: PenaltyConfig, policy: Policy, v: Tensor, x: Tensor, t: Tensor, cond: Conditioning
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted penalties [n] of velocities v [n, C, H, W] at states x and times t, and their metrics."""
    total, metrics = v.new_zeros(len(v)), {}
    if not config.penalty_forwards:
        return total, metrics
    v_base = velocity_of("base", policy, x, t, cond)
    if config.kl_weight > 0:
        distance = velocity_distance(v, v_base)
        total = total + config.kl_weight * distance
        metrics["velocity_distance"] = distance.detach()
    if config.norm_weight > 0:
        excess = norm_excess(v, v_base)
        total = total + config.norm_weight * excess
        metrics["norm_excess"] = excess.detach()
    return total, metrics


@torch.no_grad()
def velocity_of(weights: Weights, policy: Policy, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
    """Velocities [n, C, H, W] of other weights than the current ones, without gradient."""
    return policy.velocity(x, t, cond, weights=weights)


def scores_of(policy: Policy, reward: Reward, x0: Tensor, items: Items) -> Tensor:
    """Scores [n] float64 of clean latents, one for each row, differentiable as the reward is."""
    owners = [items.prompts[row] for row in items.prompt_row.tolist()]
    return reward(policy.decode(x0), [prompt.text for prompt in owners], [prompt.metadata for prompt in owners])
