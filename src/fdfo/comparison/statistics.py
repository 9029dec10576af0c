"""Intervals over a few seeds and many prompts, p-values, and Holm's correction.

The hierarchical bootstrap resamples seeds, and the prompts that all seeds share (the two-way bootstrap of Owen 2007,
"The pigeonhole bootstrap"). n - 1 of n are drawn at either level, which makes the variance of a mean unbiased
(McCarthy and Snowden 1985). From five seeds a percentile interval would still be too narrow, so the standard error of
the bootstrap is used with Student's distribution; its degrees of freedom follow from what seeds and prompts each
contribute (Satterthwaite 1946).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.stats import binomtest, t

from fdfo.evaluation.statistics import CONFIDENCE

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Seeds."""
    coverage: float
    """How often such an interval holds the truth; nominal."""
    error: float = float("nan")
    """Standard error; NaN where the interval comes from the order of the seeds alone."""
    freedom: float = float("nan")
    """Degrees of freedom."""
    values: tuple[float, ...] = ()
    """The value of every seed."""
    is_ratio: bool = False
    """Whether error and interval are those of the logarithm."""

    @property
    def has_interval(self) -> bool:
        """Two seeds or more."""
        return self.n > 1

    def p_value(self, null: float) -> float:
        """Two-sided, that the truth is `null`; 1 with fewer than two seeds or where it is not known.

        Student's, or from the signs of the seeds where there is no standard error.
        """
        if self.n < 2 or np.isnan(self.value):
            return 1.0
        if np.isnan(self.error):
            apart = [value for value in self.values if value != null]
            above = sum(value > null for value in apart)
            return float(binomtest(above, len(apart)).pvalue) if apart else 1.0
        gap = float(np.log(self.value / null)) if self.is_ratio else self.value - null
        if self.error == 0:
            return 1.0 if gap == 0 else 0.0
        return float(2 * t.sf(abs(gap) / self.error, self.freedom))

    def exponential(self) -> "Estimate":
        """The estimate of the quantity whose logarithm this is."""
        value, low, high = (float(np.exp(number)) for number in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high, values=tuple(np.exp(self.values)), is_ratio=True)


NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0, CONFIDENCE)


@cache
def resampled_prompts(count: int) -> np.ndarray:
    """How often each of `count` prompts is drawn among count - 1: [RESAMPLES, count]; the same for every statistic."""
    return _drawn(0, count, max(1, count - 1))


@cache
def _resampled_seeds(count: int, drawn: int) -> np.ndarray:
    """How often each of `count` seeds is drawn: [RESAMPLES, count]."""
    return _drawn(1, count, drawn)


def _drawn(key: int, count: int, drawn: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.multinomial(drawn, np.full(count, 1 / count), size=RESAMPLES).astype(float)


def mean_estimate(own: np.ndarray, resampled: np.ndarray, num_prompts: int) -> Estimate:
    """The mean of a number of every seed [S], with an interval over seeds and prompts; deterministic.

    `resampled` [RESAMPLES, S] are the same numbers over `resampled_prompts`. NaN for a seed makes all of it NaN: no
    seed is left out.
    """
    n = len(own)
    if n == 0 or np.isnan(own).any():
        return replace(NOTHING, n=n, values=tuple(own))
    value = float(own.mean())
    if n == 1:
        return Estimate(value, value, value, 1, CONFIDENCE, values=tuple(own))
    over_both = (resampled * _resampled_seeds(n, n - 1)).sum(1) / (n - 1)
    error = float(over_both.std(ddof=1))
    seeds, prompts = float(own.var(ddof=1) / n), float(resampled.mean(1).var(ddof=1))
    parts = seeds**2 / (n - 1) + prompts**2 / max(1, num_prompts - 1)
    freedom = (seeds + prompts) ** 2 / parts if parts > 0 else n - 1.0
    half = float(t.ppf((1 + CONFIDENCE) / 2, freedom) * error)
    return Estimate(value, value - half, value + half, n, CONFIDENCE, error, freedom, tuple(own))


def median_estimate(own: np.ndarray, resampled: np.ndarray) -> Estimate:
    """The median of a number of every seed [S], which may be infinite; arguments as of `mean_estimate`.

    The interval is that of the percentile bootstrap over seeds and prompts. Below six seeds it reaches to the extremes,
    whose coverage of the true median is 1 - 2 / 2^n (Conover 1999, Sec. 3.2).
    """
    n = len(own)
    if n == 0 or np.isnan(own).any():
        return replace(NOTHING, n=n, values=tuple(own))
    draws = np.array([np.repeat(np.arange(n), row) for row in _resampled_seeds(n, n).astype(int)])
    tail = 50 * (1 - CONFIDENCE)
    ordered = medians(np.take_along_axis(resampled, draws, 1))
    low, high = np.percentile(ordered, [tail, 100 - tail], method="nearest")  # some may be infinite
    coverage = min(CONFIDENCE, 1 - 2 / 2**n) if n > 1 else 0.0
    return Estimate(float(medians(own)), float(low), float(high), n, coverage, values=tuple(own))


def medians(values: np.ndarray) -> np.ndarray:
    """Along the last axis, of values that may be infinite: [..., S] -> [...]."""
    ordered = np.sort(values, -1)
    low, high = ordered[..., (ordered.shape[-1] - 1) // 2], ordered[..., ordered.shape[-1] // 2]
    with np.errstate(invalid="ignore"):  # of two infinite ones
        return np.where(low == high, low, low + (high - low) / 2)


def upper_end_over_prompts(values: np.ndarray) -> float:
    """Upper end of the 95 % interval over prompts of the mean of values [P]: what is above it is more than noise."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float(known.mean()) if len(known) else float("nan")
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
    return float(known.mean()) + half


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected
