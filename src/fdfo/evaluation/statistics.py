"""Means with bootstrap intervals over prompts, and paired comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over n independent units; of the percentile bootstrap (Efron 1979) if not said."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return self.told(".4g")

    def told(self, form: str, bounds: str | None = None) -> str:
        """Mean and interval in a number format, the bounds in one of their own if given; one unit has no interval."""
        within = f" [{self.low:{bounds or form}}, {self.high:{bounds or form}}]" if self.n > 1 else ""
        return f"{self.mean:{form}}{within}"

    @property
    def excludes_zero(self) -> bool:
        """True where the whole interval lies on one side of zero."""
        return self.n > 0 and (self.low > 0 or self.high < 0)


def bootstrap(values: Sequence[float] | np.ndarray, seed: int = 0) -> Interval:
    """Mean of the finite values [n] and its interval; deterministic. All NaN for no values, no width for one."""
    return _bootstrap(np.asarray(values, dtype=np.float64).tobytes(), seed)


@lru_cache(maxsize=512)
def _bootstrap(values: bytes, seed: int) -> Interval:
    """Of float64 values. A page shows the interval of the same values in several places."""
    finite = np.frombuffer(values)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = np.random.Generator(np.random.Philox(key=seed)).integers(len(finite), size=(RESAMPLES, len(finite)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(finite[draws].mean(1), [tail, 100 - tail])
    return Interval(float(finite.mean()), float(low), float(high), len(finite))


def per_prompt(values: Sequence[float] | np.ndarray, images_per_prompt: int) -> np.ndarray:
    """Mean over the images of each prompt: [P k] -> [P]; NaN where one of them failed."""
    return np.asarray(values, dtype=np.float64).reshape(-1, images_per_prompt).mean(1)


def paired_difference(after: np.ndarray, before: np.ndarray, seed: int = 0) -> Interval:
    """Interval of the mean of after - before, prompt by prompt; both [P]."""
    return bootstrap(np.asarray(after) - np.asarray(before), seed)


def win_rate(after: np.ndarray, before: np.ndarray) -> float:
    """Share of prompts that score higher after than before, ties counted half; NaN where nothing is comparable."""
    difference = np.asarray(after) - np.asarray(before)
    difference = difference[np.isfinite(difference)]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean()) if len(difference) else float("nan")
