"""Results of evaluations, as items of a line on the console."""

from collections.abc import Sequence

import numpy as np

from fdfo.evaluation.heldout import Evaluation
from fdfo.words import plural


def levels(evaluation: Evaluation, pairwise: Sequence[str] = ()) -> list[str]:
    """`name mean [low, high]` of every metric; the trained one under its own name where it is a single score.

    Pairwise scores compare with the base's images: before training there is nothing to compare.
    """
    names = evaluation.different_metrics
    if evaluation.epoch == 0:
        names = [name for name in names if name not in pairwise]
    outcomes = {name: f", {_outcomes(evaluation, name)} against the base" for name in names if name in pairwise}
    return [f"{name} {evaluation.interval(name)}{outcomes.get(name, '')}" for name in names]


def gain(history: Sequence[Evaluation], pairwise: Sequence[str] = ()) -> list[str]:
    """The trained score before training and now, and its paired difference; empty before the second evaluation.

    The first of the others where only people know the trained one, which is told.
    """
    if len(history) < 2 or not history[-1].metrics:
        return []
    first, last = history[0], history[-1]
    name = last.trained_score or last.metrics[0]
    if name in pairwise:
        return [f"held-out {name} against the base: {_outcomes(last, name)}", last.interval(name).told("+.3g")]
    before, now, change = first.interval(name), last.interval(name), last.gain(first, name)
    unjudged = [] if last.trained_score else ["the trained score is not measured here"]
    return [f"held-out {name} {before.mean:.4g} -> {now.mean:.4g}", change.told("+.3g"), *unjudged]


def _outcomes(evaluation: Evaluation, name: str) -> str:
    """Wins, losses and ties of a pairwise score."""
    values = np.asarray(evaluation.scores[name], dtype=np.float64)
    return f"won {(values > 0).sum()}, lost {(values < 0).sum()}, {plural(int((values == 0).sum()), 'tie')}"
