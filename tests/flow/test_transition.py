"""The Gaussian transition of the flow SDE keeps the marginals to first order in the step."""

import math
from itertools import pairwise

import pytest
import torch

from fdfo.flow.transition import flow_sde_step

M, C = 0.7, 0.4


def velocity(x, t):
    variance = (1 - t) ** 2 * C**2 + t**2
    deviation = (x - (1 - t) * M) / variance
    return t * deviation - (M + (1 - t) * C**2 * deviation)


def moments_after(steps, noise_level, end=0.1):
    """Mean and standard deviation propagated through the affine transitions from t = 0.9 to `end`."""
    grid = torch.linspace(0.9, end, steps + 1, dtype=torch.float64).tolist()
    mean, variance = (1 - 0.9) * M, (1 - 0.9) ** 2 * C**2 + 0.9**2
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for t, s in pairwise(grid):
        offset, std = flow_sde_step(zero, velocity(zero, t), t, s, 0.9, noise_level)
        slope = flow_sde_step(one, velocity(one, t), t, s, 0.9, noise_level)[0] - offset
        mean = (slope * mean + offset).item()
        variance = (slope**2 * variance + std**2).item()
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("noise_level", [0.3, 0.7])
def test_marginal_is_reached_at_first_order(noise_level):
    end = 0.1
    exact = ((1 - end) * M, math.sqrt((1 - end) ** 2 * C**2 + end**2))
    errors = [max(abs(a - b) for a, b in zip(moments_after(n, noise_level), exact, strict=True)) for n in (200, 800)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(1, abs=0.15)
    assert errors[1] < 5e-3


def test_without_noise_it_is_the_euler_step():
    x, v = torch.randn(2, 3, 4, dtype=torch.float64)
    mean, std = flow_sde_step(x, v, 0.8, 0.6, 0.9, 0.0)
    torch.testing.assert_close(mean, x + (0.6 - 0.8) * v)
    assert float(std) == 0


def test_at_time_one_the_second_grid_time_keeps_the_noise_finite():
    x, v = torch.randn(2, 3, 4)
    mean, std = flow_sde_step(x, v, 1.0, 0.9, 0.9, 0.7)
    torch.testing.assert_close(float(std), 0.7 * math.sqrt(1 / 0.1) * math.sqrt(0.1), rtol=1e-5, atol=0)
    assert mean.isfinite().all()


def test_half_precision_input_is_evaluated_in_float32():
    x, v = torch.randn(2, 3, 4).bfloat16()
    mean, std = flow_sde_step(x, v, 0.8, 0.6, 0.9, 0.7)
    assert mean.dtype == std.dtype == torch.float32
