"""Published evaluations, with the values that their authors report."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One list of prompts, the scores measured on it, and published values."""

    name: str
    prompts: str
    count: int
    images: int
    rewards: str
    diversity: str | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    """By score."""
    columns: Mapping[str, "Column"] = field(default_factory=dict)
    """By score: the table as papers print it."""


@dataclass(frozen=True)
class Column:
    """How papers print a score."""

    title: str
    unit: float = 1.0
    """What one of theirs is here."""


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

DRAWBENCH = (
    Protocol(
        name="drawbench",
        prompts="drawbench",
        count=1000,
        images=1,
        rewards="pickscore,clip-l14,hpsv2.1,aesthetic,image-reward",
        columns={
            "pickscore": Column("PickScore"),
            "clip-l14": Column("CLIP", unit=100.0),
            "hpsv2.1": Column("HPSv2.1", unit=100.0),
            "aesthetic": Column("Aesthetic"),
            "image-reward": Column("ImageReward"),
        },
    ),
)
"""The scores that papers of this field print for DrawBench; its list has each of the 200 prompts five times.

So do Flow-GRPO (arXiv:2505.05470) and DiffusionNFT (arXiv:2509.16117), with CLIP and HPSv2.1 as cosines. Sampling steps
and size are those of PAPER; which ones a paper used stands in it.
"""
