"""Signal and noise of gradient estimates, from the inner products of independent ones.

B estimates g_i of one batch each, E exact gradients e_k of one batch each; all batches are independent. Squared norms
of expectations are means over pairs of different batches, so that noise does not count as signal.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fdfo.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval

Array = np.ndarray
Statistic = Callable[["Products", Array, Array], float]
"""A number from inner products, with a weight for each estimate [B] and each exact gradient [E]."""


@dataclass(frozen=True)
class Products:
    """Inner products of gradients, over all trainable weights."""

    own: Array
    """[B, B] g_i . g_j"""
    cross: Array
    """[B, E] g_i . e_k; E is 0 where the score has no gradient."""
    exact: Array
    """[E, E] e_k . e_l"""

    def __post_init__(self) -> None:
        assert self.own.shape == (len(self.cross), len(self.cross))
        assert self.exact.shape == (self.cross.shape[1], self.cross.shape[1])

    @property
    def has_exact(self) -> bool:
        """Whether there are exact gradients."""
        return self.cross.shape[1] > 0


def cosine(products: Products, own: Array, exact: Array) -> float:
    """Mean cosine of two independent estimates."""
    norms = np.sqrt(np.diag(products.own))
    return _between(products.own / np.outer(norms, norms), own)


def noise(products: Products, own: Array, exact: Array) -> float:
    """Variance of an estimate, summed over the weights, over the squared norm of its expectation; infinite without."""
    signal = _between(products.own, own)
    total = float(np.diag(products.own) @ own / own.sum())
    return (total - signal) / signal if signal > 0 else float("inf")


def cosine_with_exact(products: Products, own: Array, exact: Array) -> float:
    """Mean cosine of an estimate with the mean of the exact gradients."""
    share = exact / exact.sum()
    length = np.sqrt(share @ products.exact @ share)
    cosines = products.cross @ share / (np.sqrt(np.diag(products.own)) * length)
    return float(cosines @ own / own.sum())


def alignment(products: Products, own: Array, exact: Array) -> float:
    """Cosine of the expectations of the two: 1 for an estimate without bias, however noisy; NaN without signal."""
    signals = _between(products.own, own), _between(products.exact, exact)
    if min(signals) <= 0:
        return float("nan")
    return float(own @ products.cross @ exact / (own.sum() * exact.sum()) / np.sqrt(signals[0] * signals[1]))


def _between(values: Array, weights: Array) -> float:
    """Weighted mean over pairs of different batches: [B, B] -> number; NaN where there is but one."""
    pairs = np.outer(weights, weights)
    np.fill_diagonal(pairs, 0.0)
    return float((values * pairs).sum() / pairs.sum()) if pairs.sum() > 0 else float("nan")


def draws(products: Products, statistic: Statistic, seed: int = 0) -> Array:
    """A statistic of resampled batches (bootstrap): [RESAMPLES]."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    own, exact = products.cross.shape
    weights = [(_weights(generator, own), _weights(generator, exact)) for _ in range(RESAMPLES)]
    return np.array([statistic(products, *pair) for pair in weights])


def estimate(products: Products, statistic: Statistic) -> Interval:
    """A statistic with its bootstrap interval over batches."""
    own, exact = products.cross.shape
    return interval(statistic(products, np.ones(own), np.ones(exact)), draws(products, statistic), own)


def interval(value: float, resampled: Array, n: int) -> Interval:
    """A value with the percentile interval of its resampled ones [RESAMPLES], NaN left out."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"), n)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(known, [tail, 100 - tail], method="nearest")  # some may be infinite
    return Interval(value, float(low), float(high), n)


def _weights(generator: np.random.Generator, count: int) -> Array:
    """How often each of `count` batches is drawn: [count]."""
    return generator.multinomial(count, np.full(count, 1 / count)).astype(float) if count else np.zeros(0)
