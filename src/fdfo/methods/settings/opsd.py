"""Settings of DiffusionOPSD; see methods/opsd.py."""

from typing import Annotated, Literal

from pydantic import Field

from fdfo.config.bounds import Decay, Images, Positive, Share, Steps
from fdfo.methods.settings.terms import PenaltyConfig


class OpsdConfig(PenaltyConfig):
    """Defaults are those of the descriptions."""

    name: Literal["opsd"] = "opsd"
    steps: Annotated[Steps, Field(ge=2)] = 10
    """Sampling steps T of training (ours)."""
    solver: Literal["euler", "multistep"] = "euler"
    """Solver of the steps, one evaluation each."""
    group_size: Annotated[Images, Field(ge=2)] = 24
    """Images G of a prompt, compared with each other (as DiffusionNFT)."""
    query_time: Annotated[float, Field(gt=0, lt=1)] = 0.278
    """Time of the state that is asked; the nearest of the grid is taken (OPSD: 0.278)."""
    radius: Positive = 0.1
    """Length of a target's step, relative to that of its anchor (OPSD: 0.1)."""
    beta: Positive = 1.0
    """Strength of the two branches (OPSD: 1)."""
    spread: Literal["group", "batch"] = "batch"
    """Whose standard deviation divides the advantages (as DiffusionNFT)."""
    advantage_clip: Positive = 5.0
    """Largest absolute advantage (as DiffusionNFT)."""
    old_decay_rate: Share = 0.001
    """Growth per epoch of the decay d in old <- d old + (1 - d) current (as DiffusionNFT)."""
    old_decay_limit: Decay = 0.5
    """Largest decay d (as DiffusionNFT)."""

    @property
    def num_trained(self) -> int:
        """Rows of each sample: the state that is asked."""
        return 1
