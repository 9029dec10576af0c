"""Intervals over a few seeds, for which a bootstrap would be too narrow."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, t

from fdfo.evaluation.statistics import CONFIDENCE, Interval


def mean_over_seeds(values: Sequence[float]) -> Interval:
    """Mean of the finite values [n] with Student's 95 % interval; all NaN for no values, no width for one."""
    finite = np.asarray([value for value in values if np.isfinite(value)], dtype=np.float64)
    n = len(finite)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(finite.mean())
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * finite.std(ddof=1) / n**0.5) if n > 1 else 0.0
    return Interval(mean, mean - half, mean + half, n)


def median_over_seeds(values: Sequence[float]) -> Interval:
    """Median of values [n], which may be infinite, with an interval from their order alone; NaN is left out.

    The narrowest pair of order statistics that covers the true median with 95 %; below six values the extremes, which
    cover it with 1 - 2 / 2^n (Conover 1999, Sec. 3.2). All NaN for no values.
    """
    ordered = sorted(value for value in values if value == value)
    n = len(ordered)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    tail = (1 - CONFIDENCE) / 2
    rank = max(0, int(binom.ppf(tail, n, 0.5)) - 1)
    middle = (ordered[(n - 1) // 2], ordered[n // 2])
    median = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    return Interval(median, ordered[rank], ordered[n - 1 - rank], n)
