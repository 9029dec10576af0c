"""What evaluations found, as the items of a line for the console."""

from collections.abc import Sequence

import numpy as np

from fdfo.evaluation.heldout import Evaluation


def levels(evaluation: Evaluation) -> list[str]:
    """`name mean [low, high]` of every metric; the trained one under its own name where it is a single score."""
    own = _name(evaluation)
    names = [name for name in evaluation.metrics if name != "reward" or own == "reward"]
    return [f"{name} {evaluation.interval(name)}" for name in names]


def gain(history: Sequence[Evaluation]) -> list[str]:
    """The trained score before training and now, and its paired difference; empty before the second evaluation."""
    if len(history) < 2:
        return []
    first, last = history[0], history[-1]
    before, now, change = first.interval("reward"), last.interval("reward"), last.gain(first, "reward")
    return [f"held-out {_name(last)} {before.mean:.4g} -> {now.mean:.4g}", change.told("+.3g")]


def _name(evaluation: Evaluation) -> str:
    """The score that the reward is, or `reward` where it is a sum."""
    scores = evaluation.scores
    same = [name for name in scores if np.array_equal(scores[name], scores["reward"], equal_nan=True)]
    return next((name for name in same if name != "reward"), "reward")
