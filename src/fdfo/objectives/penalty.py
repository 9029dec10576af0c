"""Penalties that hold the policy near its base."""

import torch
from torch import Tensor

from fdfo.objectives.difference import mean_square


def velocity_distance(v: Tensor, v_base: Tensor) -> Tensor:
    """mean((v - v_base)^2) per item: [B, ...], [B, ...] -> [B]; proportional to the KL divergence of the two flows."""
    return mean_square(v - v_base)


def norm_excess(v: Tensor, v_base: Tensor) -> Tensor:
    """How far the RMS of a velocity is above that of the base, 0 where it is below: [B, ...], [B, ...] -> [B].

    The hinge of NormGuard (arXiv:2606.27771): training by regression makes velocities 5 to 15 % longer.
    """
    return torch.relu(_rms(v) - _rms(v_base))


def _rms(x: Tensor) -> Tensor:
    return mean_square(x).clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def gaussian_divergence(shift: Tensor, std: Tensor) -> Tensor:
    """KL divergence [B], averaged over the elements, of two Gaussians whose means [B, ...] differ by `shift`.

    mean(shift^2) / (2 std^2); std is positive, 0-d or [B, 1, ...].
    """
    return mean_square(shift / std) / 2
