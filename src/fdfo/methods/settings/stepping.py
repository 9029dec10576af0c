"""Settings of steps on a target; see methods/stepping.py."""

from typing import Annotated

from pydantic import Field

from fdfo.config.bounds import Positive
from fdfo.config.section import Section
from fdfo.objectives.kinds import ErrorWeighting


class StepConfig(Section):
    """The step and its trust region; defaults are DiffusionART's as far as they are known."""

    move: Positive = 0.1
    """How far the clean estimate is moved, RMS, for a vector of unit RMS (ours; the description leaves it open)."""
    error_weighting: ErrorWeighting = "linear"
    """Weight of the squared velocity error: velocity 1, linear t (ART's default), clean t^2."""
    movement_limit: Positive | None = 1.0e-5
    """Rows whose transition has a larger KL divergence from the recorded one, and that the step would take further, are
    left out (ART: 1e-5); null: none."""
    movement_noise: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Noise level of the flow SDE in which that divergence is measured (ART: 0.8)."""
