"""Time grids of the Stable Diffusion 3 family, equal to diffusers' FlowMatchEulerDiscreteScheduler."""

import torch
from torch import Tensor


def time_shift(t: Tensor, shift: float) -> Tensor:
    """Resolution-dependent time shift t -> shift t / (1 + (shift - 1) t) (arXiv:2403.03206, Eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def times_at(grid: Tensor, position: Tensor) -> Tensor:
    """Times [...] at fractional positions in [0, 1] along a grid [T + 1]: linear between its times, 0 is its first.

    Evaluated in float64, returned in the grid's dtype.
    """
    where = position.double() * (len(grid) - 1)
    before = where.long().clamp(max=len(grid) - 2)
    t, s = grid.double()[before], grid.double()[before + 1]
    return (t + (where - before) * (s - t)).to(grid.dtype)


def shifted_grid(steps: int, shift: float = 3.0, train_timesteps: int = 1000) -> Tensor:
    """Sampling times [steps + 1], float32, from 1 down to 0.

    The scheduler first places its smallest time 1 / train_timesteps on the shifted path, spaces `steps` times
    evenly from 1 to there, and shifts them again. So the low end is shifted twice: with shift 3 the last
    non-zero time is 0.00892857 for any number of steps (diffusers 0.42, scheduling_flow_match_euler_discrete).

    steps is at least 1. Evaluated in float64, then rounded once.
    """
    assert steps >= 1 and shift > 0
    smallest = time_shift(torch.tensor(1 / train_timesteps, dtype=torch.float64), shift)
    even = 1 + torch.linspace(0, 1, steps, dtype=torch.float64) * (smallest - 1)
    return torch.cat([time_shift(even, shift), torch.zeros(1, dtype=torch.float64)]).to(torch.float32)
