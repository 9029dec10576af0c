"""Regression of a velocity on a step away from the recorded one (DiffusionART, arXiv:2610.12572). B rows."""

from torch import Tensor

from fdfo.objectives.difference import mean_square, scale_by
from fdfo.objectives.kinds import ErrorWeighting


def stepped_target(v_old: Tensor, vector: Tensor, t: Tensor, move: float) -> Tensor:
    """Velocity v_old - (move / t) vector, whose clean estimate x - t v is moved by `move` vector; [B, ...], t [B]."""
    return v_old - move * scale_by(vector, 1 / t)


def weighted_error(v: Tensor, target: Tensor, t: Tensor, weighting: ErrorWeighting) -> Tensor:
    """mean((v - target)^2) [B] times 1 (velocity), t (linear) or t^2 (clean: the error of the clean estimates)."""
    weight = {"velocity": t**0, "linear": t, "clean": t * t}[weighting]
    return weight * mean_square(v - target)


def goes_on(v: Tensor, v_old: Tensor, target: Tensor) -> Tensor:
    """Rows [B] bool that a step to the target takes further from v_old: <v - v_old, target - v> > 0."""
    return ((v - v_old) * (target - v)).flatten(1).mean(1) > 0
