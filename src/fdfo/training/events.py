"""Events that a run yields to a program that follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdfo.evaluation.heldout import Evaluation
from fdfo.pictures import Pictures


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An epoch of training is done."""

    epoch: int
    """Epochs finished, from 1."""
    samples: Mapping[str, float]
    """Mean score of its images as `reward`, each component, failures: those of a `rollout` in metrics.jsonl."""
    updates: Sequence[Mapping[str, float]]
    """Loss, gradient norm and the method's metrics of each optimizer step."""
    seconds: Mapping[str, float]
    """Time by phase."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The held-out prompts were drawn and judged; epoch 0 is before training."""

    epoch: int
    evaluation: Evaluation
    pictures: Pictures
    """One image of up to 24 of the prompts, the same prompts and noise every time."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint was written."""

    epoch: int
    folder: Path


Event = Trained | Evaluated | Saved
