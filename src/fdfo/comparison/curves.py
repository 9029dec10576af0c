"""Curves of the runs of a cell as arrays: S seeds, K points, P prompts, and R resampled sets of prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fdfo.comparison.plan import TRAINING_SCORE, Axis
from fdfo.comparison.results import Point, Result

AXES: dict[Axis, str] = {
    "evaluations": "network evaluations",
    "steps": "optimizer steps",
    "images": "images scored in training",
    "seconds": "seconds of training",
}

Mark = Literal["evaluations", "steps"]
"""Where runs are compared: at equal network evaluations, or at equal optimizer steps."""

MARKS: tuple[Mark, ...] = ("evaluations", "steps")

NEVER = -1
"""Index of a level that a curve does not reach."""


def cost(point: Point, axis: Axis) -> float:
    """What training had cost until a point."""
    return float(getattr(point, axis))


def at_epoch(result: Result, epoch: int) -> Point:
    """The evaluation of an epoch, which the run was told to make."""
    return next(point for point in result.curve if point.epoch == epoch)


def at_budget(result: Result) -> Point:
    """The evaluation where the budget of evaluations is spent."""
    return at_epoch(result, result.budget_epoch)


def at_steps(result: Result) -> Point:
    """The evaluation where the plan's steps are taken."""
    return at_epoch(result, result.steps_epoch)


@dataclass(frozen=True)
class Curves:
    """Results of one cell on one score, seed by seed; all with the same points."""

    results: Sequence[Result]

    @property
    def num_prompts(self) -> int:
        return len(self.results[0].curve[0].prompts[TRAINING_SCORE])

    @property
    def seeds(self) -> list[int]:
        return [one.seed for one in self.results]

    def costs(self, axis: Axis) -> np.ndarray:
        """[S, K]"""
        return np.array([[cost(point, axis) for point in one.curve] for one in self.results])

    def prompts(self, metric: str) -> np.ndarray:
        """A metric of every prompt: [S, K, P]."""
        return np.array([[_of_prompts(point.prompts, metric) for point in one.curve] for one in self.results])

    def means(self, metric: str) -> np.ndarray:
        """A metric, mean over the prompts: [S, K]."""
        return np.array([[point.values.get(metric, np.nan) for point in one.curve] for one in self.results])

    def averaged(self, metric: str, weights: np.ndarray) -> np.ndarray:
        """A metric over weighted prompts, weights [R, P]: [R, S, K]; prompts whose score failed do not count."""
        values = self.prompts(metric)
        known = np.isfinite(values)
        sums = np.einsum("rp,skp->rsk", weights, np.where(known, values, 0.0))
        return sums / np.einsum("rp,skp->rsk", weights, known.astype(float))

    def raw_at_end(self, metric: str) -> np.ndarray:
        """A metric of the trained weights themselves at the last point, of every prompt: [S, P]."""
        ends = [one.curve[-1] for one in self.results]
        return np.array([_of_prompts(point.raw_prompts or point.prompts, metric) for point in ends])


def until(results: Sequence[Result], mark: Mark) -> list[Result]:
    """The same runs, cut off where the budget is spent or the steps are taken."""
    ends = [one.budget_epoch if mark == "evaluations" else one.steps_epoch for one in results]
    return [
        replace(one, curve=[point for point in one.curve if point.epoch <= end])
        for one, end in zip(results, ends, strict=True)
    ]


def _of_prompts(prompts: Mapping[str, Sequence[float]], metric: str) -> Sequence[float]:
    """One number a prompt; the training score where a metric is that score."""
    return prompts.get(metric) or prompts[TRAINING_SCORE]


def paired(ours: Sequence[Result], theirs: Sequence[Result]) -> tuple[Curves, Curves]:
    """Curves of the seeds that both have, in one order."""
    by_seed = [{one.seed: one for one in side} for side in (ours, theirs)]
    common = sorted({*by_seed[0]} & {*by_seed[1]})
    first, second = ([side[seed] for seed in common] for side in by_seed)
    return Curves(first), Curves(second)


def first_reaching(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Index of the first point at or above a level: scores [..., K], levels [...] -> [...]; NEVER where none is."""
    reached = scores >= levels[..., None]
    return np.where(reached.any(-1), reached.argmax(-1), NEVER)


def cost_to_reach(costs: np.ndarray, scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Cost at the evaluation that first saw a level, in whole epochs: costs [..., K] -> [...]; infinite if none did."""
    index = first_reaching(scores, levels)
    seen = np.take_along_axis(np.broadcast_to(costs, scores.shape), np.maximum(index, 0)[..., None], -1)[..., 0]
    return np.where(index == NEVER, np.inf, seen)


def value_at(metric: np.ndarray, scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A metric where the training score first reaches a level, on straight lines between points: [..., K] -> [...].

    NaN where it never does.
    """
    index = first_reaching(scores, levels)
    after = np.maximum(index, 0)[..., None]
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(scores, at, -1)[..., 0] for at in (before, after))
    first, second = (np.take_along_axis(metric, at, -1)[..., 0] for at in (before, after))
    gap = high - low
    share = np.where(gap > 0, (levels - low) / np.where(gap > 0, gap, 1.0), 1.0)
    return np.where(index == NEVER, np.nan, first + np.clip(share, 0.0, 1.0) * (second - first))
