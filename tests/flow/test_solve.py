"""Order of convergence of every solver on a flow with a closed form."""

import math

import pytest
import torch

from fdfo.flow.grid import shifted_grid
from fdfo.flow.kinds import evaluations
from fdfo.flow.solve import MeanVelocity, integrate

MEANS = torch.tensor([-1.0, 1.5], dtype=torch.float64)
STD = 0.5


def velocity(x, t):
    """Marginal velocity E[eps - x0 | x_t] for a mixture of two Gaussians: nonlinear in x."""
    variance = (1 - t) ** 2 * STD**2 + t**2
    weights = torch.softmax(-((x[..., None] - (1 - t) * MEANS) ** 2) / (2 * variance), -1)
    gain = (1 - t) * STD**2 / variance
    x0 = (weights * (MEANS + gain * (x[..., None] - (1 - t) * MEANS))).sum(-1)
    eps = (x - (1 - t) * x0) / t if t > 0 else torch.zeros_like(x)
    return eps - x0


def errors(solver, counts):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    exact = integrate(velocity, x, torch.linspace(0.98, 0.02, 4097, dtype=torch.float64).tolist(), "heun")
    grids = [torch.linspace(0.98, 0.02, n + 1, dtype=torch.float64).tolist() for n in counts]
    return [float((integrate(velocity, x, grid, solver) - exact).abs().mean()) for grid in grids]


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_order_of_convergence(solver, order):
    coarse, fine = errors(solver, (64, 256))
    assert math.log(coarse / fine, 4) == pytest.approx(order, abs=0.2)


def test_multistep_takes_one_evaluation_a_step_and_ends_with_euler():
    calls = []

    def counted(x, t):
        calls.append(t)
        return velocity(x, t)

    grid = shifted_grid(8, 3.0).tolist()
    integrate(counted, torch.randn(3, 1, dtype=torch.float64), grid, "multistep")
    assert calls == grid[:-1]


@pytest.mark.parametrize("solver", ["euler", "heun", "multistep"])
def test_every_solver_is_exact_on_a_straight_flow(solver):
    """v constant along the path (a single data point): one step or many give the data point."""
    target = torch.tensor([[0.3]], dtype=torch.float64)
    x = torch.tensor([[1.7]], dtype=torch.float64)
    result = integrate(lambda x, t: (x - target) / t, x, shifted_grid(5, 3.0).tolist(), solver)
    torch.testing.assert_close(result, target)


def test_split_repeats_the_remembered_step():
    whole = MeanVelocity(velocity, "multistep")
    x = torch.randn(2, 1, dtype=torch.float64)
    whole(x, velocity(x, 0.9), 0.9, 0.7)
    whole.split(3)
    y = x.repeat_interleave(3, 0)
    repeated = whole(y, velocity(y, 0.7), 0.7, 0.5)
    assert torch.equal(repeated[0], repeated[2])


@pytest.mark.parametrize("solver", ["euler", "heun", "multistep"])
def test_evaluations_are_counted_as_made_and_every_step_is_visited(solver):
    calls, visited = [], []

    def velocity(x, t):
        calls.append(t)
        return -x

    x = torch.ones(1, 1)
    integrate(velocity, x, [1.0, 0.6, 0.3, 0.0], solver, lambda i, t, x: visited.append((i, t)))
    assert len(calls) == evaluations(3, solver)
    assert visited == [(0, 1.0), (1, 0.6), (2, 0.3)]
