"""Published evaluations, with the values that their authors report."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One list of prompts, the scores measured on it, and published values."""

    name: str
    prompts: str
    count: int
    images: int
    rewards: str
    diversity: str | None = None
    published: Mapping[str, float]
    """By score."""


STEPS = 40
"""Euler steps, at the guidance of training."""

RESOLUTION = 512
"""Pixels a side."""

SUBJECT = "SD3.5-Medium after 100 epochs on the combined reward, without guidance (arXiv:2603.12893)"
"""What the published values belong to."""

PAPER = (
    Protocol(
        name="pickscore",
        prompts="pickscore-train",
        count=4096,
        images=1,
        rewards="pickscore,vlm-alignment",
        published={"pickscore": 22.4704, "vlm-alignment": 61.7239},
    ),
    Protocol(
        name="hpdv2",
        prompts="hpdv2",
        count=3200,
        images=4,
        rewards="hpsv2,clip-h14,clip-l14",
        diversity="dreamsim",
        published={"hpsv2": 28.2949, "clip-h14": 35.7743, "clip-l14": 28.1932, "diversity": 0.4550},
    ),
)
"""The paper's. Which 4096 of the training prompts were taken is not published; here they are spread over the list."""
