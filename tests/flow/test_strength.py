"""Perturbation schedules: densities on the grid, against an independent float64 computation."""

import math

import pytest
import torch
from torch.testing import assert_close

from fdfo.flow.grid import shifted_grid
from fdfo.flow.strength import interval_density, prior_density, schedule_weights, strengths, uniform_density

GRID = shifted_grid(40, 3.0)


def test_uniform_and_prior_densities():
    assert_close(uniform_density(GRID, 2), torch.full((2, 40), 1 / 40, dtype=torch.float64))
    assert prior_density(GRID, 2).tolist() == [[1.0] + [0.0] * 39] * 2


@pytest.mark.parametrize("centre", [-2.0, 0.3, 1.0, 2.5])
def test_the_interval_is_a_logit_normal_density_that_sums_to_one(centre):
    def pdf(t):
        if t >= 1:
            return 0.0
        logit = math.log(t / (1 - t))
        return math.exp(-((logit - centre) ** 2) / (2 * 0.25**2)) / (0.25 * math.sqrt(2 * math.pi) * t * (1 - t))

    expected = torch.tensor([pdf(t) for t in GRID[:-1].double().tolist()], dtype=torch.float64)
    density = interval_density(GRID, torch.tensor([centre]), 0.25)
    assert_close(density, (expected / expected.sum())[None], rtol=1e-6, atol=1e-12)
    assert density[0, 0] == 0  # the start is not re-noised


@pytest.mark.parametrize("centre", [-30.0, 30.0])
def test_an_interval_beside_the_grid_is_uniform(centre):
    assert_close(interval_density(GRID, torch.tensor([centre, 0.0]), 0.25)[:1], uniform_density(GRID, 1))


def test_strengths_multiply_to_the_exponential_of_the_weight_and_nothing_acts_at_zero():
    weights = torch.tensor([0.1, 3.0], dtype=torch.float64)
    for density in (uniform_density(GRID, 2), prior_density(GRID, 2), interval_density(GRID, torch.zeros(2), 0.25)):
        g = strengths(density, weights)
        assert g.shape == (2, 41) and torch.equal(g[:, -1], torch.zeros(2))
        assert_close(g.double().log1p().sum(1), weights, rtol=1e-5, atol=0)
    assert_close(strengths(prior_density(GRID, 1), weights[:1])[0, 0].item(), math.expm1(0.1), rtol=1e-6, atol=0)


def test_weights_are_log_normal():
    assert_close(schedule_weights(3.0, 0.0, torch.randn(4)), torch.full((4,), 3.0, dtype=torch.float64))
    draws = torch.tensor([-1.0, 0.0, 2.0])
    assert_close(schedule_weights(0.1, 1.0, draws), 0.1 * draws.double().exp())
