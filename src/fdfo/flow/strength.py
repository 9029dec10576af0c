"""How strongly each time of the grid is perturbed (arXiv:2603.12893, perturbation schedules).

A schedule is a density over the T + 1 times of the grid, normalised to mean 1, multiplied by the strength w and
turned into g = exp(w density) - 1, so that re-noising by all of them multiplies to the same exp(w (T + 1)).
Times are [T + 1]; the result is [B, T + 1], one row per sample.
"""

import torch
from torch import Tensor


def uniform(grid: Tensor, w: float, num_samples: int) -> Tensor:
    """The paper's default: g = w itself at every time; [B, T + 1]."""
    return torch.full((num_samples, len(grid)), w)


def prior_only(grid: Tensor, w: float, num_samples: int) -> Tensor:
    """All of the perturbation at t = 1: only the shared start is re-noised; [B, T + 1]."""
    density = torch.zeros(num_samples, len(grid))
    density[:, 0] = len(grid)
    return torch.expm1(w * density)


def random_interval(grid: Tensor, w: float, centre_noise: Tensor, width: float) -> Tensor:
    """A Gaussian bump of standard deviation `width` in t around a random, logit-normal centre.

    centre_noise is [B] standard normal; samples of one group share it. Returns [B, T + 1].
    """
    centre = torch.sigmoid(centre_noise)
    bump = torch.exp(-0.5 * ((grid[None] - centre[:, None]) / width) ** 2)
    return torch.expm1(w * bump / bump.mean(dim=1, keepdim=True))
