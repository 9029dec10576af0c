"""Settings of AWM; see methods/awm.py."""

from typing import Annotated, Literal

from pydantic import Field

from fdfo.config.bounds import Decay, NonNegative, Positive, Share, Steps, StepsFromZero
from fdfo.methods.settings.matching import MatchingConfig
from fdfo.methods.settings.terms import PenaltyConfig

Weighting = Literal["huber", "velocity", "clean", "noise", "bound"]


class AwmConfig(MatchingConfig, PenaltyConfig):
    """Defaults are the released setting for GenEval and text rendering; for PickScore see sd35-awm."""

    name: Literal["awm"] = "awm"
    steps: Annotated[Steps, Field(ge=2)] = 14
    """Sampling steps T of training (released: 14)."""
    trained_times: Steps = 6
    """Fresh times of each image (released: 6)."""
    skipped_first: StepsFromZero = 1
    """How many of the grid's noisiest times are never trained (released: 1; 0 with PickScore)."""
    skipped_last: StepsFromZero = 2
    """How many of the grid's last times are never trained (released: 90 % of 14 steps are)."""
    weighting: Weighting = "huber"
    """Of the matching error e, the mean square of the velocity's: huber (t / p) e^p; or weight(t) e with velocity 1,
    clean t^2, noise (1 - t)^2, bound (1 - t) / t."""
    huber_power: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Power p of the generalised Huber weighting (released: 0.25)."""
    advantage_max: Positive = 1.0
    """Advantages, once clipped, are scaled to be at most this (released: 1)."""
    clip_range: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Trusted change c of the ratio (released: 1)."""
    on_policy: bool = True
    """The policy that sampled is the one that is trained, and not evaluated again: one update an epoch (released)."""
    kl_weight: NonNegative = 0.003
    """Weight of the squared velocity distance to the base (released: 0.003; 1e-4 with PickScore)."""
    average_weight: NonNegative = 1.0
    """Weight of the squared velocity distance to the average of the policy (released: 1)."""
    average_decay_rate: Share = 0.001
    """Growth per epoch of the average's decay (released: 0.001)."""
    average_decay_limit: Decay = 0.3
    """Largest decay of the average (released: 0.3)."""
