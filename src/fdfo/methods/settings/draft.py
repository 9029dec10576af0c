"""Settings of DRaFT; see methods/draft.py."""

from typing import Literal

from pydantic import model_validator

from fdfo.config.bounds import Images, Steps
from fdfo.config.section import Section


class DraftConfig(Section):
    """Defaults are the published setting, DRaFT-1."""

    name: Literal["draft"] = "draft"
    steps: Steps = 50
    """Sampling steps T (DRaFT: 50)."""
    solver: Literal["euler", "heun"] = "euler"
    """Solver of the steps; a multistep solver would forget its past where the gradient starts."""
    last_steps: Steps | Literal["all", "random"] = 1
    """Last steps K that the gradient passes through; all: the full chain; random: any number from 1 to T."""
    copies: Images | None = None
    """DRaFT-LV: re-noise each image this many times to the start of the last step (DRaFT: 2); null: DRaFT-K."""
    checkpointing: bool = True
    """Keep only the states between the differentiated steps and recompute the rest, for K > 1: the memory of one step,
    one more forward evaluation for each."""

    @property
    def num_trained(self) -> int:
        """Rows of each sample: one a copy."""
        return self.copies or 1

    @property
    def truncations(self) -> range:
        """The numbers K of last steps, all equally often."""
        if self.last_steps == "random":
            return range(1, self.steps + 1)
        last = self.steps if self.last_steps == "all" else self.last_steps
        return range(last, last + 1)

    @model_validator(mode="after")
    def _fits(self) -> "DraftConfig":
        if isinstance(self.last_steps, int) and self.last_steps > self.steps:
            raise ValueError(f"last_steps={self.last_steps} exceeds steps={self.steps}; use 'all' or fewer")
        if self.copies is not None and self.last_steps != 1:
            raise ValueError("copies (DRaFT-LV) re-noises to the last step alone; use last_steps=1")
        return self
