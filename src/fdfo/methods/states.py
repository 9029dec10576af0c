"""States of ODE trajectories from which a loss goes on with gradient: what ReFL and DRaFT share.

B samples, one for each prompt, K states of each.
"""

from dataclasses import dataclass

from torch import Tensor

from fdfo.methods.rows import shared_fields, valid_samples
from fdfo.records import Items, Rollout, Scores


@dataclass(frozen=True, kw_only=True)
class StateRollout(Rollout):
    """Where the gradient will start; all float32."""

    t: Tensor  # [B, K]
    x: Tensor  # [B, K, C, H, W]


@dataclass(frozen=True, kw_only=True)
class StateItems(Items):
    """Rows (sample, state): [B, K, ...] or [n, ...]."""

    t: Tensor  # [n]
    x: Tensor  # [n, C, H, W]


def state_items(rollout: StateRollout, scores: Scores) -> StateItems:
    """Rows of the samples whose score is valid; the loss scores them anew, with gradient."""
    valid = valid_samples(scores, rollout.group_size)
    keep = slice(None) if bool(valid.all()) else valid.to(rollout.x0.device)
    return StateItems(**shared_fields(rollout, valid, rollout.t.shape[1]), t=rollout.t[keep], x=rollout.x[keep])
