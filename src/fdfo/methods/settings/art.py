"""Settings of DiffusionART; see methods/art.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Images, Steps
from fdfo.flow.kinds import Solver
from fdfo.methods.settings.branches import BranchConfig
from fdfo.methods.settings.stepping import StepConfig
from fdfo.methods.settings.terms import PenaltyConfig


class ArtConfig(StepConfig, PenaltyConfig):
    """Defaults follow the description."""

    name: Literal["art"] = "art"
    group_size: Annotated[Images, Field(ge=2)] = 8
    """Samples K of a prompt (ours)."""
    steps: Steps = 10
    """Sampling steps T (ours)."""
    solver: Solver = "euler"
    """Solver of the steps."""
    trained_times: Steps | Literal["all"] = "all"
    """Times of each trajectory that are trained on, evenly spread from a random offset; unbiased (ART: all)."""
    scores: Literal["values", "wins"] = "values"
    """wins: the share of the other samples that one beats, half for equals (ART's pairwise form)."""

    @property
    def num_trained(self) -> int:
        """Times K of each trajectory that are trained on."""
        return self.branches.num_trained

    @property
    def branches(self) -> BranchConfig:
        """The same as branches: independent starts without noise."""
        return BranchConfig(
            start="independent",
            strength=0.0,
            branches=self.group_size,
            steps=self.steps,
            solver=self.solver,
            trained_times=self.trained_times,
        )

    @model_validator(mode="after")
    def _times_fit(self) -> "ArtConfig":
        if self.trained_times != "all" and self.trained_times > self.steps:
            raise ValueError(f"trained_times={self.trained_times} exceeds steps={self.steps}; use 'all' or fewer")
        return self
