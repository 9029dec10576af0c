"""Kinds of solvers and samplers, and what they cost; importing this loads no torch."""

from typing import Literal

Solver = Literal["euler", "heun", "multistep"]
Sampler = Literal["sde", "cps"]


def evaluations(steps: int, solver: Solver, reaches_zero: bool = True) -> int:
    """Velocity evaluations of so many steps; Heun's step to t = 0, where it is one of them, is an Euler step."""
    return 2 * steps - reaches_zero if solver == "heun" and steps else steps
