"""States of ODE trajectories from which a loss goes on with gradient: what ReFL and DRaFT share.

B samples, one for each prompt, K states of each. No trajectory is sampled further than to its state: images are made
and scored by the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fdfo.flow.kinds import Solver
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.solve import MeanVelocity
from fdfo.interfaces import Policy
from fdfo.methods.rows import shared_fields, valid_samples
from fdfo.records import Conditioning, Items, Prompt, Rollout, Scores


@dataclass(frozen=True, kw_only=True)
class StateRollout(Rollout):
    """States where the gradient starts; float32 except `step`. x0 holds the first state of each sample, not its end."""

    step: Tensor  # [B, K] int64, number of the step that starts there
    t: Tensor  # [B, K]
    x: Tensor  # [B, K, C, H, W]


@dataclass(frozen=True, kw_only=True)
class StateItems(Items):
    """Rows (sample, state): [B, K, ...] or [n, ...]."""

    step: Tensor  # [n] int64
    t: Tensor  # [n]
    x: Tensor  # [n, C, H, W]


@torch.no_grad()
def sample_to(
    steps: Tensor,
    policy: Policy,
    prompts: Sequence[Prompt],
    conditioning: Conditioning,
    noise: NoiseStreams,
    grid: Tensor,
    solver: Solver,
) -> Tensor:
    """States [B, C, H, W] of one trajectory a prompt along grid [T + 1], each at the start of its own step.

    steps is [B] int64 on the CPU, from 0 (the start) to T (the image). Only trajectories that go on are evaluated.
    """
    order = steps.argsort(descending=True, stable=True)  # those that go on are always the first ones
    cond = conditioning[order]
    x = noise.normal(policy.latent_shape, "start", [prompts[i].number for i in order.tolist()]).to(policy.device)
    mean_velocity = MeanVelocity(lambda x, t: policy.velocity(x, t, cond[: len(x)]), solver)
    reached: list[Tensor] = []
    for i, (t, s) in enumerate(pairwise(grid.tolist())):
        going = int((steps > i).sum())
        reached.append(x[going:])
        x = x[:going]
        if going == 0:
            break
        mean_velocity.keep(going)
        v = policy.velocity(x, t, cond[:going])
        x = x + (s - t) * mean_velocity(x, v, t, s)
    return torch.cat([x, *reversed(reached)])[order.argsort().to(policy.device)]


def state_items(rollout: StateRollout, scores: Scores) -> StateItems:
    """Rows of the samples whose score is valid."""
    valid = valid_samples(scores, rollout.group_size)
    keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
    return StateItems(
        **shared_fields(rollout, valid, rollout.t.shape[1]),
        step=rollout.step[keep],
        t=rollout.t[keep],
        x=rollout.x[keep],
    )


def scored_loss(losses: Tensor, score: Tensor, x: Tensor) -> Tensor:
    """Losses [n] of scores [n], float64, in the precision of x; 0 where the score failed."""
    return losses.where(score.isfinite(), 0.0).to(x)
