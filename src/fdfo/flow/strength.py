"""How strongly each time of the grid is perturbed (arXiv:2603.12893, perturbation schedules).

A schedule is a density over the T times of the grid, its last one 0 left out, that sums to 1; multiplied by a weight w
it becomes g = exp(w density) - 1, so that re-noising by all of them multiplies to exp(w). One row per sample: [B, T]
of a grid [T + 1], evaluated in float64.
"""

from math import log, pi, sqrt

import torch
from torch import Tensor

SMALLEST_TOTAL = 1e-6
"""A density that sums to less on the grid, which then lies beside it, is made uniform (the authors' value)."""


def uniform_density(grid: Tensor, num_samples: int) -> Tensor:
    """1 / T everywhere."""
    steps = len(grid) - 1
    return torch.full((num_samples, steps), 1 / steps, dtype=torch.float64)


def prior_density(grid: Tensor, num_samples: int) -> Tensor:
    """All of it at t = 1: only the shared start is re-noised."""
    density = torch.zeros(num_samples, len(grid) - 1, dtype=torch.float64)
    density[:, 0] = 1
    return density


def interval_density(grid: Tensor, centre: Tensor, width: float) -> Tensor:
    """A logit-normal density around a centre [B] in logit space, of standard deviation `width` there.

        p(t) = exp(-(logit(t) - centre)^2 / (2 width^2)) / (width sqrt(2 pi) t (1 - t)),    0 at t = 1

    at each time, divided by its sum.
    """
    t = grid[:-1].double()
    odds = t.clamp(max=1 - 1e-12).logit()
    deviation = (odds[None] - centre.double()[:, None]) / width
    density = (-0.5 * deviation.square()).exp() / (width * sqrt(2 * pi) * (t * (1 - t)).clamp(min=1e-300))
    density = density.where(t < 1, 0.0)
    total = density.sum(1, keepdim=True)
    is_beside = total < SMALLEST_TOTAL
    return torch.where(is_beside, uniform_density(grid, len(centre)), density / total.where(~is_beside, 1.0))


def schedule_weights(weight: float, spread: float, draws: Tensor) -> Tensor:
    """Log-normal weights exp(ln w + spread n) [B] of standard normal draws n [B]."""
    return (log(weight) + spread * draws.double()).exp()


def strengths(density: Tensor, weights: Tensor) -> Tensor:
    """g [B, T + 1] float32 at every time of the grid, with nothing at t = 0; weights are [B]."""
    g = torch.expm1(weights[:, None] * density)
    return torch.cat([g, torch.zeros_like(g[:, :1])], 1).float()
