"""Settings of matching of re-noised images; see methods/matching.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Images, Positive, Steps, StepsFromZero
from fdfo.config.section import Section
from fdfo.flow.kinds import Solver, evaluations


class MatchingConfig(Section):
    """How images are sampled, re-noised and compared; defaults are DiffusionNFT's."""

    steps: Annotated[Steps, Field(ge=2)] = 10
    """Sampling steps T of training, at least 2; evaluation has its own number."""
    solver: Solver = "euler"
    """Solver of the steps; of the trajectory, only its end is used."""
    group_size: Annotated[Images, Field(ge=2)] = 24
    """Images G of a prompt, compared with each other (DiffusionNFT: 24)."""
    trained_times: Steps = 9
    """Fresh times of each image, one in each of as many equal parts of what `time_density` says (DiffusionNFT: 9)."""
    time_density: Literal["grid", "sampler", "uniform"] = "grid"
    """grid: the sampler's own times (DiffusionNFT, AWM); sampler: between them, as dense as they are, down to the last
    one before 0; uniform: in t."""
    skipped_first: StepsFromZero = 0
    """With the density grid: how many of the noisiest times are never trained."""
    skipped_last: StepsFromZero = 1
    """With the density grid: how many of the last times are never trained (DiffusionNFT: 99 % of ten are)."""
    spread: Literal["group", "batch"] = "batch"
    """Whose standard deviation divides the advantages (DiffusionNFT, Flow-GRPO: batch)."""
    advantage_clip: Positive = 5.0
    """Largest absolute advantage (DiffusionNFT, Flow-GRPO: 5)."""

    @property
    def num_trained(self) -> int:
        """Times K of each image that are trained on."""
        return self.trained_times

    @property
    def grid_times(self) -> range:
        """Which of the grid's times are trained with the density grid."""
        return range(self.skipped_first, self.steps - self.skipped_last)

    @model_validator(mode="after")
    def _times_fit(self) -> "MatchingConfig":
        there = len(self.grid_times)
        if self.time_density == "grid" and self.trained_times > there:
            raise ValueError(
                f"trained_times={self.trained_times} exceeds the {there} times of the grid that are trained; use at "
                "most that, or another time_density"
            )
        return self

    def sampling_evaluations(self, num_prompts: int, is_compared: bool) -> int:
        """Velocity evaluations of the trajectories, and of the same weights at the fresh times if they are compared."""
        fresh = self.trained_times if is_compared else 0
        return num_prompts * self.group_size * (evaluations(self.steps, self.solver) + fresh)
