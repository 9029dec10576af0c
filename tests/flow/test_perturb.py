"""Perturbed steps keep marginals; limits and fixed points.

Closed form: data x0 ~ N(m, c^2) has x_t ~ N((1 - t) m, (1 - t)^2 c^2 + t^2), and its flow maps the marginal at t
affinely onto the marginal at r. So an exact solver step followed by re-noising must give the marginal at s.
"""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.perturb import overshoot_time, perturbation, perturbed_step, renoise_start

M, C = 0.7, 0.4


def moments(t):
    return (1 - t) * M, ((1 - t) ** 2 * C**2 + t**2) ** 0.5


def exact_mean_velocity(x, t, r):
    """(x_r - x_t) / (r - t) along the exact flow from t to r."""
    (mean_t, std_t), (mean_r, std_r) = moments(t), moments(r)
    return (mean_r + std_r * (x - mean_t) / std_t - x) / (r - t)


@pytest.mark.parametrize("g", [0.0025, 0.3, 2.0])
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.6, 0.3), (0.2, 0.0)])
def test_perturbed_step_keeps_the_marginal(t, s, g):
    """Mean and variance propagated exactly: x_s = A x_t + B + N n is affine, so read A, B, N off by probing."""
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def step(x, n):
        return perturbed_step(x, exact_mean_velocity(x, t, overshoot_time(s, g)), t, s, g, n)

    offset = step(zero, zero)
    slope, noise = step(one, zero) - offset, step(zero, one) - offset
    mean_t, std_t = moments(t)
    mean_s, std_s = moments(s)
    assert_close((slope * mean_t + offset).item(), mean_s, rtol=1e-12, atol=1e-12)
    assert_close(((slope * std_t) ** 2 + noise**2).sqrt().item(), std_s, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("g", [0.0025, 0.5])
def test_renoised_start_is_standard_normal(g):
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    keep, added = renoise_start(one, g, zero), renoise_start(zero, g, one)
    assert_close((keep**2 + added**2).item(), 1.0, rtol=1e-14, atol=0)


def test_zero_strength_is_the_euler_step():
    x, v, n = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    assert torch.equal(perturbed_step(x, v, 0.8, 0.5, 0.0, n), x + (0.5 - 0.8) * v)
    assert torch.equal(renoise_start(x, 0.0, n), x)


def test_nothing_is_added_at_time_zero():
    x, v, n = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    assert_close(perturbed_step(x, v, 0.1, 0.0, 0.7, n), x - 0.1 * v)


def test_small_strength_keeps_its_digits():
    """At g = 1e-6 the noise amplitude is r sqrt(2e-6 + 1e-12); (1 + g)^2 - 1 would lose 5 digits in float32."""
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    g = torch.tensor([1e-6])
    exact = (2e-6 + 1e-12) ** 0.5 / (1 + 1e-6)
    assert_close(renoise_start(zero, g, one).item(), exact, rtol=1e-6, atol=0)


def test_per_sample_strengths_equal_separate_steps():
    x, v, n = torch.randn(3, 2, 1, 2, 2, dtype=torch.float64)
    g = torch.tensor([0.1, 0.4], dtype=torch.float64)
    both = perturbed_step(x, v, 0.8, 0.5, g, n)
    for i in range(2):
        assert_close(both[i : i + 1], perturbed_step(x[i : i + 1], v[i : i + 1], 0.8, 0.5, float(g[i]), n[i : i + 1]))


def test_perturbation_is_what_the_step_added():
    x, v, n = torch.randn(3, 2, 1, 2, 2, dtype=torch.float64)
    x_s = perturbed_step(x, v, 0.8, 0.5, 0.2, n)
    assert_close(x + (0.5 - 0.8) * v + perturbation(x_s, x, v, 0.8, 0.5), x_s)


def test_marginals_survive_a_whole_perturbed_trajectory():
    """40 exact steps with fresh noise at each: variance recursion through all of them."""
    mean, variance = 0.0, 1.0
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for t, s in pairwise(torch.linspace(1, 0, 41, dtype=torch.float64).tolist()):

        def step(x, n, t=t, s=s):
            return perturbed_step(x, exact_mean_velocity(x, t, overshoot_time(s, 0.05)), t, s, 0.05, n)

        offset = step(zero, zero)
        slope, noise = (step(one, zero) - offset).item(), (step(zero, one) - offset).item()
        mean, variance = slope * mean + offset.item(), slope**2 * variance + noise**2
    assert_close((mean, variance**0.5), (M, C), rtol=1e-10, atol=0)
