"""Settings of ReFL; see methods/refl.py."""

from math import ceil
from typing import Annotated, Literal

from pydantic import Field

from fdfo.config.bounds import Positive, Steps, Threshold
from fdfo.flow.kinds import Solver
from fdfo.methods.settings.terms import PenaltyConfig


class ReflConfig(PenaltyConfig):
    """Defaults are the published setting."""

    name: Literal["refl"] = "refl"
    steps: Steps = 40
    """Sampling steps T (ReFL: 40)."""
    solver: Solver = "euler"
    """Solver of the steps."""
    late_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the steps, the last ones, of which one is drawn (ReFL: the last quarter)."""
    margin: Threshold | None = None
    """Scores above it are good enough: loss max(margin - R, 0) (ReFL: 2 for ImageReward); null: loss -R."""
    weight: Positive = 1.0e-3
    """Factor of the score's part of the loss (ReFL: 1e-3)."""

    @property
    def late_steps(self) -> range:
        """Numbers of the late steps."""
        return range(self.steps - ceil(self.steps * self.late_share), self.steps)

    @property
    def num_trained(self) -> int:
        """Rows of each sample: the late step that is drawn."""
        return 1
