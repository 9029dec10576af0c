"""What the results say about a claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fdfo.comparison.curves import final, speed, value_at
from fdfo.comparison.plan import Claim, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.statistics import mean_over_seeds, median_over_seeds
from fdfo.evaluation.statistics import Interval

Verdict = Literal["confirmed", "weakened", "refuted", "open"]

NEUTRAL = {"final": 0.0, "equal_score": 0.0, "speed": 1.0}
"""What no effect looks like."""


@dataclass(frozen=True)
class Finding:
    """A claim on one training score."""

    claim: Claim
    score: str
    claimed: float
    found: Interval
    verdict: Verdict


def findings(plan: Plan, results: Sequence[Result]) -> list[Finding]:
    """A finding for every claim and training score on which both of its cells were trained."""
    found = []
    for claim in plan.claims:
        neutral = NEUTRAL[claim.kind]
        claimed = neutral if claim.at_least is None else claim.at_least
        for score in claim.scores or plan.scores:
            if score in plan.scores_of(claim.cell) and score in plan.scores_of(claim.against):
                interval = _effect(claim, results, score)
                found.append(Finding(claim, score, claimed, interval, verdict(interval, claimed, neutral)))
    return found


def verdict(found: Interval, claimed: float, neutral: float) -> Verdict:
    """confirmed: the interval holds only what is claimed or more; weakened: an effect of this direction, but not surely
    of this size; refuted: the claimed size is excluded, and no effect is shown; open: neither, or fewer than two seeds.
    """
    if found.n < 2:
        return "open"
    if found.low > claimed:
        return "confirmed"
    if claimed > neutral and found.low > neutral:
        return "weakened"
    return "refuted" if found.high < claimed else "open"


def _effect(claim: Claim, results: Sequence[Result], score: str) -> Interval:
    """The claimed effect, paired by seed."""
    pairs = paired(sound(results, "final", score, claim.cell), sound(results, "final", score, claim.against))
    if claim.kind == "speed":
        return median_over_seeds([speed(ours, theirs, claim.axis) for ours, theirs in pairs])
    if claim.kind == "equal_score":
        return equal_score_difference(pairs, claim.metric)[1]
    return mean_over_seeds([final(ours, claim.metric) - final(theirs, claim.metric) for ours, theirs in pairs])


def paired(ours: Sequence[Result], theirs: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Results of the same seed."""
    by_seed = {one.seed: one for one in theirs}
    return [(one, by_seed[one.seed]) for one in ours if one.seed in by_seed]


def equal_score_difference(pairs: Sequence[tuple[Result, Result]], metric: str) -> tuple[float, Interval]:
    """A level of the training score, and the difference of a metric there, paired by seed.

    The level is the lower of the two mean final training scores; seeds of which one never reaches it do not count.
    """
    if not pairs:
        return float("nan"), mean_over_seeds([])
    level = min(mean_over_seeds([final(pair[side]) for pair in pairs]).mean for side in (0, 1))
    return level, mean_over_seeds(
        [value_at(ours, level, metric) - value_at(theirs, level, metric) for ours, theirs in pairs]
    )
