"""Settings of branches; see methods/branches.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Images, NonNegative, Positive, Steps, StepsFromZero, Weight
from fdfo.config.section import Section
from fdfo.flow.kinds import Solver


class BranchConfig(Section):
    """How branches are sampled; defaults are the reference setting (SD3.5-Medium, arXiv:2603.12893)."""

    start: Literal["shared", "independent"] = "shared"
    """shared: the branches of a prompt have one start, re-noised for each; independent: each has its own (ablation)."""
    strength: Annotated[float, Field(ge=0, le=1)] = 0.0025
    """Strength g of the perturbation at every time, with the schedule uniform; 0: none, for independent starts."""
    schedule: Literal["uniform", "random_interval", "prior_only"] = "uniform"
    """Where along the trajectory the perturbation acts; for the other two, `schedule_weight` takes the strength's
    place."""
    schedule_weight: Positive | None = None
    """Weight w of the whole perturbation; null: the authors' 1 for random_interval, 0.1 for prior_only."""
    schedule_spread: NonNegative | None = None
    """Standard deviation of ln w from prompt to prompt; null: the authors' 0 for random_interval, 1 for prior_only."""
    interval_centre: Weight = 1.0
    """Mean of the random interval's centre in logit space (the authors' code: 1; their ablation: 1.3)."""
    interval_spread: NonNegative = 1.5
    """Standard deviation of the centre from prompt to prompt, in logit space (1.5)."""
    interval_width: Positive = 0.25
    """Standard deviation of the random interval in logit space (0.25)."""
    antithetic: bool = False
    """Whether every other branch has the noise of the one before with its sign turned (ours)."""
    deterministic_branch: bool = False
    """Whether the first branch of a prompt has no noise (ablation)."""
    steps: Steps = 40
    """Sampling steps T."""
    solver: Solver = "euler"
    """Solver of the steps."""
    branches: Images = 2
    """Samples of a prompt: 2 is the pair, more use all pairs, 1 is a single trajectory against the batch's mean
    score."""
    shared_steps: StepsFromZero = 0
    """First steps that the branches share; they are sampled once, and the branches part at their end."""
    trained_times: Steps | Literal["all"] = "all"
    """Times of each trajectory that are trained on, evenly spread from a random offset; unbiased."""

    @property
    def num_trained(self) -> int:
        """Times K of each trajectory that are trained on."""
        return self.steps if self.trained_times == "all" else self.trained_times

    def sampling_evaluations(self, num_prompts: int) -> int:
        """Shared steps once per prompt, the others once per branch; Heun doubles all but the last."""
        own = self.steps - self.shared_steps
        rows = self.shared_steps + own * self.branches
        if self.solver == "heun":
            rows += self.shared_steps + (own - 1) * self.branches
        return num_prompts * rows

    @model_validator(mode="after")
    def _branches_fit(self) -> "BranchConfig":
        if self.trained_times != "all" and self.trained_times > self.steps:
            raise ValueError(f"trained_times={self.trained_times} exceeds steps={self.steps}; use 'all' or fewer")
        if self.shared_steps >= self.steps:
            raise ValueError(f"shared_steps={self.shared_steps} must be below steps={self.steps}")
        if self.start == "independent" and self.shared_steps > 0:
            raise ValueError("start=independent shares nothing; it needs shared_steps=0")
        if self.start == "shared" and self.schedule == "uniform" and self.strength == 0:
            raise ValueError(
                "strength=0 leaves the branches of a shared start the same; use more, or start=independent"
            )
        if self.schedule == "prior_only" and (self.shared_steps > 0 or self.start == "independent"):
            raise ValueError("schedule=prior_only perturbs a shared start alone; it needs start=shared, shared_steps=0")
        if self.antithetic and (self.branches % 2 or self.deterministic_branch):
            raise ValueError(
                "antithetic=true pairs the branches' noises; it needs an even number of branches, all noisy"
            )
        return self
