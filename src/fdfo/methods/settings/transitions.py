"""Settings of stochastic transitions; see methods/transitions.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Positive, Steps
from fdfo.config.section import Section
from fdfo.flow.kinds import Sampler


class TransitionConfig(Section):
    """How a trajectory is sampled and clipped; defaults are Flow-GRPO's."""

    steps: Annotated[Steps, Field(ge=2)] = 10
    """Sampling steps T of training; evaluation has its own number (Flow-GRPO: 10). The last one is an ODE step."""
    sampler: Sampler = "sde"
    """sde: the flow SDE (arXiv:2505.05470); cps: coefficient-preserving (arXiv:2509.05952), whose log ratios are
    weighted by 2 std^2."""
    noise_level: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Noise a of the stochastic steps (Flow-GRPO: 0.7)."""
    trained_times: Steps | Literal["all"] = "all"
    """Stochastic steps of each trajectory that are trained on, evenly spread from a random offset; unbiased."""
    clip_range: Annotated[float, Field(gt=0, lt=1)] = 1.0e-4
    """Trusted change c of the ratio, which is a mean over elements (Flow-GRPO, DDPO: 1e-4)."""
    advantage_clip: Positive = 5.0
    """Largest absolute advantage (Flow-GRPO: 5)."""

    @property
    def noisy_steps(self) -> int:
        """Steps that can be stochastic: all but the last."""
        return self.steps - 1

    @property
    def stochastic_steps(self) -> int:
        """Steps of each trajectory that are stochastic."""
        return self.noisy_steps

    @property
    def num_trained(self) -> int:
        """Steps K of each trajectory that are trained on."""
        return self.stochastic_steps if self.trained_times == "all" else self.trained_times

    @model_validator(mode="after")
    def _has_enough_stochastic_steps(self) -> "TransitionConfig":
        if self.trained_times != "all" and self.trained_times > self.stochastic_steps:
            raise ValueError(
                f"trained_times={self.trained_times} exceeds the {self.stochastic_steps} stochastic steps; "
                "use 'all' or fewer"
            )
        return self
