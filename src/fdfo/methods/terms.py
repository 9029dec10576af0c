"""Terms of a loss that evaluate the policy or the reward once more; one for each row [n]."""

import torch
from torch import Tensor

from fdfo.interfaces import Policy, Reward, Weights
from fdfo.objectives.penalty import velocity_distance
from fdfo.records import Conditioning, Items


def distance_to(weights: Weights, policy: Policy, v: Tensor, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
    """Squared distance [n] of velocities v [n, C, H, W] to those of other weights at the same states and times."""
    with torch.no_grad():
        v_other = policy.velocity(x, t, cond, weights=weights)
    return velocity_distance(v, v_other)


def scores_of(policy: Policy, reward: Reward, x0: Tensor, items: Items) -> Tensor:
    """Scores [n] float64 of clean latents, one for each row, differentiable as the reward is."""
    owners = [items.prompts[row] for row in items.prompt_row.tolist()]
    return reward(policy.decode(x0), [prompt.text for prompt in owners], [prompt.metadata for prompt in owners])
