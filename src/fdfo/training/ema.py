"""Exponential moving average of the trained weights, kept in float32 as a snapshot of the policy."""

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """average <- decay average + (1 - decay) weights, in place, by name."""
    for name, value in weights.items():
        average[name].lerp_(value, 1 - decay)
