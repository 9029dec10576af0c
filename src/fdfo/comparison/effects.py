"""What the runs of two cells say about each other; all with intervals over seeds and prompts.

Runs are paired by seed, and judged on the same prompts and noises. R resamplings, S seeds, K points, P prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdfo.comparison.curves import Curves, cost_to_reach, paired, value_at
from fdfo.comparison.plan import TRAINING_SCORE, Axis
from fdfo.comparison.results import Result
from fdfo.comparison.statistics import (
    NOTHING,
    Estimate,
    mean_estimate,
    median_estimate,
    resampled_prompts,
    upper_end_over_prompts,
)

PerSeed = Callable[[np.ndarray], np.ndarray]
"""From weights of the prompts [R, P] to a number for every resampling and seed [R, S]."""


@dataclass(frozen=True)
class Effect:
    """An estimate, and how many of its pairs have no level to be compared at."""

    estimate: Estimate
    without_level: int = 0
    level: float = float("nan")
    """Mean training score at which the pairs are compared."""


def level_at_end(results: Sequence[Result], metric: str) -> Estimate:
    """A metric at the last point of the curves."""
    if not results:
        return NOTHING
    curves = Curves(results)
    return _mean(curves, lambda weights: curves.averaged(metric, weights)[..., -1])


def level_at_points(results: Sequence[Result], metric: str) -> list[Estimate]:
    """A metric at every point of the curves."""
    curves = Curves(results)
    own, resampled = _both(curves, lambda weights: curves.averaged(metric, weights))
    return [mean_estimate(own[:, k], resampled[..., k], curves.num_prompts) for k in range(own.shape[1])]


def raw_at_end(results: Sequence[Result], metric: str) -> Estimate:
    """The same of the trained weights themselves, where `level_at_end` is of their average."""
    if not results:
        return NOTHING
    curves = Curves(results)
    return _mean(curves, lambda weights: _weighted(curves.raw_at_end(metric), weights))


def difference(ours: Sequence[Result], theirs: Sequence[Result], metric: str) -> Estimate:
    """Ours less theirs at the last points of the curves."""
    first, second = paired(ours, theirs)
    if not first.results:
        return NOTHING
    ends = [curves.averaged for curves in (first, second)]
    return _mean(first, lambda weights: ends[0](metric, weights)[..., -1] - ends[1](metric, weights)[..., -1])


def raw_difference(ours: Sequence[Result], theirs: Sequence[Result], metric: str) -> Estimate:
    """The same of the trained weights themselves."""
    first, second = paired(ours, theirs)
    if not first.results:
        return NOTHING
    gap = first.raw_at_end(metric) - second.raw_at_end(metric)
    return _mean(first, lambda weights: _weighted(gap, weights))


def at_equal_score(ours: Sequence[Result], theirs: Sequence[Result], metric: str) -> Effect:
    """Ours less theirs where both first reach the lower of their two last training scores, pair by pair.

    A pair whose level is not above the start by more than the prompts' noise has none: then there is no estimate.
    """
    first, second = paired(ours, theirs)
    if not first.results:
        return Effect(NOTHING)

    def gaps(weights: np.ndarray) -> np.ndarray:
        scores = [curves.averaged(TRAINING_SCORE, weights) for curves in (first, second)]
        levels = np.minimum(scores[0][..., -1], scores[1][..., -1])
        values = [
            value_at(curves.averaged(metric, weights), own, levels)
            for curves, own in zip((first, second), scores, strict=True)
        ]
        return values[0] - values[1]

    levels = np.minimum(*(curves.means(TRAINING_SCORE)[:, -1] for curves in (first, second)))
    return _where_levels(first, levels, _mean(first, gaps))


def speed(ours: Sequence[Result], theirs: Sequence[Result], axis: Axis) -> Effect:
    """Cost at which theirs is at its best, over the cost at which ours gets there, pair by pair; 0 where it never does.

    The geometric mean with Student's interval of the logarithm, or, where a run of ours never gets there, the median
    with an interval from the order of the pairs. Costs are of whole epochs, at the evaluations that saw the levels.
    """
    first, second = paired(ours, theirs)
    if not first.results:
        return Effect(NOTHING)

    def ratios(weights: np.ndarray) -> np.ndarray:
        reached, scores = (curves.averaged(TRAINING_SCORE, weights) for curves in (first, second))
        best = scores.argmax(-1)[..., None]
        theirs_cost = np.take_along_axis(np.broadcast_to(second.costs(axis), scores.shape), best, -1)[..., 0]
        ours_cost = cost_to_reach(first.costs(axis), reached, scores.max(-1))
        with np.errstate(divide="ignore", invalid="ignore"):  # a level at the start costs nothing
            return np.where(theirs_cost == ours_cost, 1.0, theirs_cost / ours_cost)

    own, resampled = _both(first, ratios)
    levels = second.means(TRAINING_SCORE).max(-1)
    if np.isfinite(resampled).all() and (resampled > 0).all():
        estimate = mean_estimate(np.log(own), np.log(resampled), first.num_prompts).exponential()
    else:
        estimate = median_estimate(own, resampled)
    return _where_levels(second, levels, estimate)


def reach(results: Sequence[Result], level: float, axis: Axis) -> Estimate:
    """Cost at which the training score first reaches a level; infinite where it never does."""
    curves = Curves(results)

    def costs(weights: np.ndarray) -> np.ndarray:
        scores = curves.averaged(TRAINING_SCORE, weights)
        return cost_to_reach(curves.costs(axis), scores, np.full(scores.shape[:-1], level))

    return median_estimate(*_both(curves, costs))


def above_guidance(results: Sequence[Result], guided: Sequence[Result], metric: str) -> Estimate:
    """A metric at the end, less that of the untrained model under the guidance that has the same training score.

    `guided`: one result for each guidance, the weakest first. NaN where a run scores above all of them.
    """
    if not results or not guided:
        return NOTHING
    curves, base = Curves(results), Curves(guided)

    def gaps(weights: np.ndarray) -> np.ndarray:
        scores, values = (base.averaged(name, weights)[..., 0][:, None] for name in (TRAINING_SCORE, metric))
        levels = curves.averaged(TRAINING_SCORE, weights)[..., -1]
        shape = (*levels.shape, scores.shape[-1])
        at_level = value_at(np.broadcast_to(values, shape), np.broadcast_to(scores, shape), levels)
        return curves.averaged(metric, weights)[..., -1] - at_level

    return _mean(curves, gaps)


def noise_of_start(result: Result) -> float:
    """Training score that is above the start by more than the noise of its prompts."""
    return upper_end_over_prompts(np.asarray(result.curve[0].prompts[TRAINING_SCORE]))


def _where_levels(curves: Curves, levels: np.ndarray, estimate: Estimate) -> Effect:
    """The estimate, if every pair's level [S] is one: a level inside the noise of the start is none."""
    missing = sum(level <= noise_of_start(one) for level, one in zip(levels, curves.results, strict=True))
    return Effect(replace(NOTHING, n=len(levels)) if missing else estimate, missing, float(levels.mean()))


def _mean(curves: Curves, per_seed: PerSeed) -> Estimate:
    return mean_estimate(*_both(curves, per_seed), curves.num_prompts)


def _both(curves: Curves, per_seed: PerSeed) -> tuple[np.ndarray, np.ndarray]:
    """A number of every seed over all prompts [S, ...], and over resampled ones [R, S, ...]."""
    return per_seed(np.ones((1, curves.num_prompts)))[0], per_seed(resampled_prompts(curves.num_prompts))


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of values [S, P] under weights [R, P]: [R, S]; prompts whose score failed do not count."""
    known = np.isfinite(values)
    return weights @ np.where(known, values, 0.0).T / (weights @ known.T)
