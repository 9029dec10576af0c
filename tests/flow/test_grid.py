"""Grids equal those of diffusers' scheduler, whose low end is shifted twice."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch.testing import assert_close

from fdfo.flow.grid import shifted_grid, times_at


@pytest.mark.parametrize("steps", [1, 2, 8, 10, 28, 40])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_grid_equals_the_scheduler(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    assert_close(shifted_grid(steps, shift), scheduler.sigmas, rtol=3e-6, atol=1e-7)  # it rounds to float32 thrice


@pytest.mark.parametrize("steps", [8, 40])
def test_last_nonzero_time_at_shift_3(steps):
    assert_close(shifted_grid(steps, 3.0)[-2].item(), 0.00892857, rtol=1e-6, atol=0)


def test_grid_decreases_from_one_to_zero():
    grid = shifted_grid(17, 3.0)
    assert grid[0] == 1 and grid[-1] == 0
    assert torch.all(grid.diff() < 0)


def test_positions_along_a_grid_interpolate_its_times():
    grid = torch.tensor([1.0, 0.8, 0.2, 0.0])
    positions = torch.tensor([0.0, 1 / 6, 1 / 3, 0.5, 5 / 6, 1.0], dtype=torch.float64)
    assert_close(times_at(grid, positions), torch.tensor([1.0, 0.9, 0.8, 0.5, 0.1, 0.0]))
