"""Preferences with ties on features: Davidson's model of paired comparisons (J. Am. Stat. Assoc. 65 (1970) 317-328).

It extends Bradley and Terry's by ties. With strengths exp(s) of two things and d = s(first) - s(second),

    P(first) = exp(d/2) / Z,   P(second) = exp(-d/2) / Z,   P(tie) = nu / Z,   Z = exp(d/2) + exp(-d/2) + nu,

which is his equation for pi = exp(s): P(tie) = nu sqrt(pi_1 pi_2) / (pi_1 + pi_2 + nu sqrt(pi_1 pi_2)). Departure: s is
linear in features, s = w . f, and w has a Gaussian prior, as in logistic regression: minus log likelihood plus
ridge |w|^2 / 2, over features that are scaled to differences of unit size, is convex in w and log nu.

N comparisons, D features, G prompts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

RIDGES = tuple(10.0**power for power in (4, 3, 2, 1, 0, -1))
"""Strengths of the prior to try, from the strongest."""
FOLDS = 5
LEAST_LOG_TIE = -12.0
"""Lower bound of log nu, which tends to minus infinity if nobody chose a tie."""


@dataclass(frozen=True)
class Comparisons:
    """What was chosen."""

    difference: Array
    """[N, D] features of the first picture less those of the second."""
    chosen: Array
    """[N] 1: the first; -1: the second; 0: no preference."""
    prompt: Array
    """[N] numbers of prompts."""

    def __len__(self) -> int:
        return len(self.chosen)

    def where(self, rows: Array) -> "Comparisons":
        """The chosen rows."""
        return Comparisons(self.difference[rows], self.chosen[rows], self.prompt[rows])


@dataclass(frozen=True)
class Head:
    """A fitted model."""

    weights: Array
    """[D] float64."""
    log_tie: float
    """log nu."""

    def gaps(self, difference: Array) -> Array:
        """d [N] of differences of features [N, D]."""
        return difference @ self.weights

    def log_likelihood(self, given: Comparisons) -> float:
        """Mean over comparisons."""
        return float(_log_chances(self.gaps(given.difference), self.log_tie)[_rows(given), _columns(given)].mean())


def chances(gaps: Array, log_tie: float) -> Array:
    """Probabilities [N, 3] of the first, of no preference and of the second, for d [N]."""
    return np.exp(_log_chances(gaps, log_tie))


def fit(given: Comparisons, ridge: float, start: Head | None = None) -> Head:
    """The head of a strength of the prior; `start` saves time."""
    from scipy.optimize import minimize

    scale = np.sqrt((given.difference**2).mean(0))  # about zero: which picture is the first means nothing
    scale = np.where(scale > 0, scale, 1.0)
    x = given.difference / scale
    is_tie = given.chosen == 0

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, log_tie = parameters[:-1], parameters[-1]
        logs = _log_chances(x @ weights, log_tie)
        value = -logs[_rows(given), _columns(given)].sum() + ridge * weights @ weights / 2
        first, tie, second = np.exp(logs).T
        slope = (first - second - given.chosen) / 2  # of the loss by d
        return value, np.append(slope @ x + ridge * weights, (tie - is_tie).sum())

    begin = np.zeros(x.shape[1] + 1) if start is None else np.append(start.weights * scale, start.log_tie)
    bounds = [(None, None)] * x.shape[1] + [(LEAST_LOG_TIE, -LEAST_LOG_TIE)]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    return Head(found.x[:-1] / scale, float(found.x[-1]))


def best_ridge(given: Comparisons) -> float:
    """The strength of the prior with the highest likelihood of choices of prompts that were not fitted."""
    scores = dict.fromkeys(RIDGES, 0.0)
    for train, test in _folds(given):
        head = None
        for ridge in RIDGES:
            head = fit(train, ridge, head)
            scores[ridge] += head.log_likelihood(test) * len(test)
    return max(scores, key=scores.__getitem__)


def held_out_gaps(given: Comparisons) -> Array:
    """d [N] of every comparison by a head that saw no choice of its prompt, nor did the choice of its prior."""
    gaps = np.empty(len(given))
    for rows, train, test in _split(given):
        gaps[rows] = fit(train, best_ridge(train)).gaps(test.difference)
    return gaps


def agreement(gaps: Array, given: Comparisons) -> Array:
    """For each prompt [G] the number of choices of a side for which d [N] has the right sign; zero counts half."""
    sided = given.chosen != 0
    right = (np.sign(gaps) * given.chosen + 1)[sided] / 2
    prompts = given.prompt[sided]
    return np.array([right[prompts == one].mean() for one in np.unique(prompts)])


def _folds(given: Comparisons) -> Iterator[tuple[Comparisons, Comparisons]]:
    return ((train, test) for _, train, test in _split(given))


def _split(given: Comparisons) -> Iterator[tuple[Array, Comparisons, Comparisons]]:
    """Rows that are left out, what is left, and what is left out; all choices of a prompt go together."""
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(FOLDS, len(np.unique(given.prompt))))
    for train, test in folds.split(given.difference, groups=given.prompt):
        yield test, given.where(train), given.where(test)


def _log_chances(gaps: Array, log_tie: float) -> Array:
    """Logarithms of `chances`."""
    logits = np.stack([gaps / 2, np.full_like(gaps, log_tie), -gaps / 2], 1)
    top = logits.max(1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))


def _rows(given: Comparisons) -> Array:
    return np.arange(len(given))


def _columns(given: Comparisons) -> Array:
    """The column of `chances` that each choice stands for."""
    return 1 - given.chosen.astype(int)
