"""Settings of Flow-GRPO; see methods/flow_grpo.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Count, Images, NonNegative, Positive, Steps
from fdfo.methods.settings.transitions import TransitionConfig


class FlowGrpoConfig(TransitionConfig):
    """Defaults are the classic published setting for SD3.5-Medium."""

    name: Literal["flow_grpo"] = "flow_grpo"
    group_size: Annotated[Images, Field(ge=2)] = 24
    """Images G of a prompt, compared with each other (Flow-GRPO: 24)."""
    spread: Literal["group", "batch"] = "batch"
    """Whose standard deviation divides the advantages (the authors' default: batch)."""
    trust_region: Literal["ratio", "divergence"] = "ratio"
    """ratio: clipped at 1 +- `clip_range`; divergence: rows that move away from the sampling policy, and are further
    than `divergence_limit` from it, are left out (Flow-DPPO)."""
    divergence_limit: Positive = 1.0e-5
    """Largest KL divergence of a step's transitions, averaged over elements (Flow-DPPO's released setting: 1e-5)."""
    kl_weight: NonNegative = 0.04
    """Weight beta of the divergence from the base (Flow-GRPO: 0.04; 0.01 for PickScore; 0 in the better setting)."""
    kl_form: Literal["code", "paper"] = "code"
    """paper: the KL divergence of the transitions; code: times the length of the step, as in the authors' code, to
    which their beta belongs. The same with `sampler: cps`."""
    window: Steps | Literal["all"] = "all"
    """Number of stochastic steps; the others are ODE steps (Flow-GRPO-Fast: 2 or 3, MixGRPO: 4)."""
    window_place: Literal["random", "first_half", "sliding"] = "random"
    """random: anywhere before the last step; first_half: inside the first half of the steps (Flow-GRPO-Fast); sliding:
    for all one step toward the image every `window_epochs`."""
    window_epochs: Count = 25
    """Epochs that a sliding window stays (MixGRPO: 25)."""
    shared_prefix: bool = False
    """Whether the images of a prompt have one start and one path up to the window, whose noise makes the group
    (Flow-GRPO-Fast); else each has a start of its own."""

    @property
    def stochastic_steps(self) -> int:
        """Steps of each trajectory that are stochastic: those of the window."""
        return self.noisy_steps if self.window == "all" else self.window

    @property
    def window_places(self) -> int:
        """Number of places that the window can have."""
        steps = self.steps // 2 if self.window_place == "first_half" else self.noisy_steps
        return steps - self.stochastic_steps + 1

    @model_validator(mode="after")
    def _window_fits(self) -> "FlowGrpoConfig":
        if self.window_places < 1:
            where = "the first half of the steps" if self.window_place == "first_half" else "the steps but the last"
            fits = self.stochastic_steps + self.window_places - 1
            raise ValueError(f"window={self.window} does not fit into {where}, which are {fits}; use at most that")
        return self
