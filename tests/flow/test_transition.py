"""Gaussian transitions: marginals of Gaussian data, limits, and densities that integrate to one."""

import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.transition import cps_step, flow_sde_step, transition
from fdfo.objectives.penalty import gaussian_divergence
from fdfo.objectives.surrogate import gaussian_log_ratio

M, C = 0.7, 0.4


def velocity(x, t, spread=C):
    variance = (1 - t) ** 2 * spread**2 + t**2
    deviation = (x - (1 - t) * M) / variance
    return t * deviation - (M + (1 - t) * spread**2 * deviation)


def moments_after(steps, noise_level, end=0.1, sampler="sde", spread=C):
    """Mean and standard deviation propagated through the affine transitions from t = 0.9 to `end`."""
    grid = torch.linspace(0.9, end, steps + 1, dtype=torch.float64).tolist()
    mean, variance = (1 - 0.9) * M, (1 - 0.9) ** 2 * spread**2 + 0.9**2
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for t, s in pairwise(grid):
        offset, std = transition(sampler, zero, velocity(zero, t, spread), t, s, 0.9, noise_level)
        slope = transition(sampler, one, velocity(one, t, spread), t, s, 0.9, noise_level)[0] - offset
        mean = (slope * mean + offset).item()
        variance = (slope**2 * variance + std**2).item()
    return mean, math.sqrt(variance)


@pytest.mark.parametrize(("sampler", "noise_level"), [("sde", 0.3), ("sde", 0.7), ("cps", 0.8)])
def test_marginal_is_reached_at_first_order(sampler, noise_level):
    """Coefficient-preserving noise has no limit of small steps of its own: its variance is made to fall with them."""
    end = 0.1
    exact = ((1 - end) * M, math.sqrt((1 - end) ** 2 * C**2 + end**2))

    def error(steps):
        level = noise_level if sampler == "sde" else noise_level / math.sqrt(steps / 10)
        reached = moments_after(steps, level, sampler=sampler)
        return max(abs(a - b) for a, b in zip(reached, exact, strict=True))

    assert math.log(error(200) / error(800), 4) == pytest.approx(1, abs=0.15)
    assert error(800) < 5e-3


@pytest.mark.parametrize("noise_level", [0.3, 1.0])
def test_coefficient_preserving_steps_are_exact_for_a_single_image_and_sde_steps_are_not(noise_level):
    """Data without spread: the state at s is (1 - s) M + s eps after steps of any length."""
    mean, std = moments_after(4, noise_level, sampler="cps", spread=0.0)
    assert (mean, std) == (pytest.approx(0.9 * M, rel=1e-12), pytest.approx(0.1, rel=1e-12))
    assert moments_after(4, noise_level, sampler="sde", spread=0.0)[1] > 0.11


@pytest.mark.parametrize("sampler", ["sde", "cps"])
def test_without_noise_it_is_the_euler_step(sampler):
    x, v = torch.randn(2, 3, 4, dtype=torch.float64)
    mean, std = transition(sampler, x, v, 0.8, 0.6, 0.9, 0.0)
    assert_close(mean, x + (0.6 - 0.8) * v)
    assert float(std) == 0


@pytest.mark.parametrize("sampler", ["sde", "cps"])
def test_every_sample_may_have_its_own_time_and_noise_level(sampler):
    x, v = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    times = torch.tensor([[0.9, 0.5], [0.6, 0.3]])
    together = transition(sampler, x, v, times[0], times[1], 0.9, torch.tensor([0.0, 0.7]))
    for i, level in enumerate((0.0, 0.7)):
        alone = transition(sampler, x[i : i + 1], v[i : i + 1], times[0, i], times[1, i], 0.9, level)
        assert_close(together[0][i : i + 1], alone[0], rtol=1e-6, atol=1e-6)
        assert_close(together[1][i].squeeze(), alone[1], rtol=1e-6, atol=1e-6, check_dtype=False)


def test_at_time_one_the_second_grid_time_keeps_the_noise_finite():
    x, v = torch.randn(2, 3, 4)
    mean, std = flow_sde_step(x, v, 1.0, 0.9, 0.9, 0.7)
    assert_close(float(std), 0.7 * math.sqrt(1 / 0.1) * math.sqrt(0.1), rtol=1e-5, atol=0)
    assert mean.isfinite().all()


@pytest.mark.parametrize("sampler", ["sde", "cps"])
def test_the_last_coefficient_preserving_step_adds_no_noise(sampler):
    x, v = torch.randn(2, 3, 4)
    assert (float(transition(sampler, x, v, 0.1, 0.0, 0.9, 0.7)[1]) == 0) == (sampler == "cps")


def test_half_precision_input_is_evaluated_in_float32():
    x, v = torch.randn(2, 3, 4).bfloat16()
    for step in (flow_sde_step(x, v, 0.8, 0.6, 0.9, 0.7), cps_step(x, v, 0.8, 0.6, 0.7)):
        assert step[0].dtype == step[1].dtype == torch.float32


@pytest.mark.parametrize("shift", [0.0, 0.2, -1.5])
def test_densities_integrate_to_one(shift):
    """The new density is the old one times the ratio; both are integrated over x_s, a single element."""
    std = torch.tensor(0.3, dtype=torch.float64)
    noise = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    old = torch.exp(-noise.square() / 2) / (std * math.sqrt(2 * math.pi))
    ratio = gaussian_log_ratio(torch.full((len(noise), 1), shift).double(), std, noise[:, None]).exp()
    x_s = std * noise
    assert torch.trapezoid(old, x_s).item() == pytest.approx(1, rel=1e-9)
    assert torch.trapezoid(old * ratio, x_s).item() == pytest.approx(1, rel=1e-9)
    divergence = -torch.trapezoid(old * ratio.log(), x_s)
    assert_close(divergence, gaussian_divergence(torch.tensor([[shift]]).double(), std)[0], rtol=1e-9, atol=1e-12)


def test_log_ratio_is_the_mean_difference_of_log_densities():
    shift, noise = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    std = torch.rand(5, 1, 1, dtype=torch.float64) + 0.1
    old = torch.distributions.Normal(torch.zeros_like(shift), std)
    new = torch.distributions.Normal(shift, std)
    x_s = std * noise
    expected = (new.log_prob(x_s) - old.log_prob(x_s)).flatten(1).mean(1)
    assert_close(gaussian_log_ratio(shift, std, noise), expected)
