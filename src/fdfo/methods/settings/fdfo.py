"""Settings of FDFO; see methods/fdfo.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Positive
from fdfo.methods.settings.branches import BranchConfig
from fdfo.methods.settings.stepping import StepConfig
from fdfo.methods.settings.terms import PenaltyConfig


class FdfoConfig(BranchConfig, StepConfig, PenaltyConfig):
    """Defaults are the reference setting (SD3.5-Medium, arXiv:2603.12893)."""

    name: Literal["fdfo"] = "fdfo"
    direction: Literal["finite_difference", "score_gradient"] = "finite_difference"
    """Where the direction comes from; score_gradient needs a differentiable reward."""
    credit: Literal["whole", "step"] = "whole"
    """whole: the difference of the images at every step; step: the difference of the noise added by that step."""
    normalize_gap: bool = True
    """Whether the gap of the images is divided by its mean square; false is an ablation (unstable)."""
    time_weight: Literal["equal", "perturbation"] = "equal"
    """perturbation: times are weighted as the schedule perturbs them, with mean 1 (ablation; worse)."""
    weight: Literal["difference", "unit"] = "difference"
    """difference: a row counts as the score differs over the length of the gap; unit: all alike (as ART)."""
    objective: Literal["spo", "regression"] = "spo"
    """spo: the paper's; regression: the velocity's error from a step of `move` (as ART)."""
    clip_range: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """Trusted change of the ratio, c of SPO."""
    trusted: Annotated[Positive, Field(gt=1)] | None = 4.0
    """SPO holds as far as so many times the edges of its trust region; beyond, its force stays what it is there (ours;
    the same until a row is that far out). null: nowhere bounded, as published."""

    @model_validator(mode="after")
    def _fits(self) -> "FdfoConfig":
        if self.schedule == "prior_only" and self.credit == "step":
            raise ValueError("schedule=prior_only perturbs the start alone; it needs credit=whole")
        if self.credit == "step" and (self.steps == 1 or self.start == "independent"):
            raise ValueError("credit=step needs a shared start and more than one step; the last one adds no noise")
        if self.direction == "score_gradient" and self.credit == "step":
            raise ValueError("credit=step has no meaning with direction=score_gradient; use credit=whole")
        return self
