"""Choosing from a sweep: the setting with the best training score on validation prompts, at the end of the budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdfo.comparison.cells import points
from fdfo.comparison.plan import TRAINING_SCORE, Plan
from fdfo.comparison.results import Result


@dataclass(frozen=True)
class Tried:
    """A setting of a cell, and how it did."""

    swept: dict[str, Any]
    values: list[float]
    """Training score at the end for each tuning seed; NaN where the run failed or is missing."""

    @property
    def mean(self) -> float:
        """Over the tuning seeds; NaN where any of them is."""
        return float(np.mean(self.values))


def tried(plan: Plan, results: Sequence[Result], score: str, cell: str) -> list[Tried]:
    """All settings of a cell, in order."""
    ends = {
        (one.point, one.seed): one.curve[-1].values[TRAINING_SCORE]
        for one in results
        if (one.stage, one.score, one.cell) == ("tuning", score, cell) and one.is_sound
    }
    return [
        Tried(swept, [ends.get((index, seed), float("nan")) for seed in plan.tuning_seeds])
        for index, swept in enumerate(points(plan, cell))
    ]


def chosen_point(plan: Plan, results: Sequence[Result], score: str, cell: str) -> int | None:
    """Number of the chosen setting; the only one where nothing is swept, None where every one failed or is missing."""
    if len(points(plan, cell)) == 1:
        return 0
    means = [one.mean for one in tried(plan, results, score, cell)]
    return int(np.nanargmax(means)) if np.isfinite(means).any() else None


def all_chosen(plan: Plan, results: Sequence[Result]) -> dict[tuple[str, str], int]:
    """The chosen setting of every (score, cell) that has one."""
    chosen = {
        (score, cell): chosen_point(plan, results, score, cell) for cell in plan.cells for score in plan.scores_of(cell)
    }
    return {key: point for key, point in chosen.items() if point is not None}


def edges(plan: Plan, cell: str, point: int) -> list[str]:
    """Swept fields whose chosen value is the first or last of three or more: the best may lie beyond."""
    chosen = points(plan, cell)[point]
    return [
        key for key, values in plan.sweep_of(cell).items() if len(values) > 2 and chosen[key] in (values[0], values[-1])
    ]
