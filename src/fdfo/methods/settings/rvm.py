"""Settings of RVM; see methods/rvm.py."""

from typing import Annotated, Literal

from pydantic import Field

from fdfo.config.bounds import Images, NonNegative, Positive, Steps
from fdfo.methods.settings.matching import MatchingConfig
from fdfo.methods.settings.terms import PenaltyConfig


class RvmConfig(MatchingConfig, PenaltyConfig):
    """Defaults follow the descriptions."""

    name: Literal["rvm"] = "rvm"
    form: Literal["rvm", "ram"] = "rvm"
    """rvm: half the squared error from v - A (v - u) - b (v - v_base); ram: the squared error from v_base + A (u - v);
    with v and v_base taken as constants."""
    group_size: Annotated[Images, Field(ge=2)] = 8
    """Images G of a prompt, compared with each other (RVM: 8)."""
    trained_times: Steps = 2
    """Fresh times, each with fresh noise, of each image (ours)."""
    time_density: Literal["grid", "sampler", "uniform"] = "uniform"
    """uniform: in t (RVM); grid, sampler: see MatchingConfig."""
    advantage_scale: Positive = 0.1
    """Factor of the clipped advantages, A (RVM: 0.1)."""
    anchor_weight: NonNegative = 0.01
    """Weight b of RVM's pull toward the base (ours): without one, a negative A pushes away without bound."""
