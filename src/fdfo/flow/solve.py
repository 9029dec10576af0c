"""Deterministic solvers of dx/dt = v(x, t) along a decreasing grid.

Each solver is reduced to one thing: the *mean velocity* of a step, with which the plain or the perturbed Euler
formula makes that step. So every solver can be perturbed, and the state that it visits is the same x.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from fdfo.flow.kinds import Solver
from fdfo.flow.path import Scalar, clean_to_velocity, per_sample, velocity_to_clean

Velocity = Callable[[Tensor, Scalar], Tensor]
"""v(x [B, ...], t) -> [B, ...]; t is a number or [B]."""


def log_snr(t: Scalar) -> Tensor:
    """lambda(t) = log((1 - t) / t), infinite at both ends; 0-d or [B], float64."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return (1 - t).log() - t.log()


class MeanVelocity:
    """Mean velocity of each step of one trajectory; remembers the previous step for the multistep solver.

    euler      v(x, t)                                                                      (order 1)
    heun       the average of the velocities at both ends (arXiv:2206.00364, Alg. 1)        (order 2, 2 evaluations)
    multistep  DPM-Solver++(2M) (arXiv:2211.01095, Alg. 2) on the straight path             (order 2, 1 evaluation)

    The first multistep step and every step to t = 0 are Euler steps, as in diffusers' lower_order_final.
    """

    def __init__(self, velocity: Velocity, solver: Solver):
        self.velocity = velocity
        self.solver = solver
        self.previous: tuple[float, Tensor] | None = None  # (time, clean estimate) of the step before

    def __call__(self, x: Tensor, v: Tensor, t: float, r: Scalar) -> Tensor:
        """Mean velocity from t to r, given v = velocity(x, t); [B, ...]. r is one number, or [B] above 0."""
        to_the_end = isinstance(r, float) and r <= 0
        if self.solver == "heun" and not to_the_end:
            return (v + self.velocity(x + (per_sample(r, x) - t) * v, r)) / 2
        if self.solver == "multistep":
            before, self.previous = self.previous, (t, velocity_to_clean(x, v, t))
            if before is not None and before[0] < 1 and not to_the_end:
                return self._multistep(x, t, r, before, self.previous[1])
        return v

    def keep(self, count: int) -> None:
        """Drop all but the first `count` states."""
        if self.previous is not None:
            self.previous = (self.previous[0], self.previous[1][:count])

    def split(self, branches: int) -> None:
        """Repeat every state `branches` times."""
        if self.previous is not None:
            self.previous = (self.previous[0], self.previous[1].repeat_interleave(branches, 0))

    def _multistep(self, x: Tensor, t: float, r: Scalar, before: tuple[float, Tensor], clean: Tensor) -> Tensor:
        ratio = (log_snr(r) - log_snr(t)) / (log_snr(t) - log_snr(before[0]))
        extrapolated = clean + per_sample(ratio.to(x.dtype) / 2, x) * (clean - before[1])
        return clean_to_velocity(x, extrapolated, t)


def integrate(
    velocity: Velocity,
    x: Tensor,
    grid: list[float],
    solver: Solver = "euler",
    visit: Callable[[int, float, Tensor], None] | None = None,
) -> Tensor:
    """Integrate from grid[0] to grid[-1]; x is [B, ...], the grid decreases. Returns the last state [B, ...].

    visit, if given, is called with the number, time and state of every step before it is made.
    """
    mean_velocity = MeanVelocity(velocity, solver)
    for i, (t, s) in enumerate(pairwise(grid)):
        if visit is not None:
            visit(i, t, x)
        v = velocity(x, t)
        x = x + (s - t) * mean_velocity(x, v, t, s)
    return x
