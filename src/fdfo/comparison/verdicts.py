"""What the results say about the claims of a plan, corrected for how many they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fdfo.comparison.curves import MARKS, Mark, until
from fdfo.comparison.effects import Effect, at_equal_score, difference, raw_difference, speed
from fdfo.comparison.plan import Axis, Claim, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.statistics import Estimate, holm
from fdfo.evaluation.statistics import CONFIDENCE

Verdict = Literal["confirmed", "weakened", "refuted", "open"]

NEUTRAL = {"final": 0.0, "equal_score": 0.0, "speed": 1.0}
"""What no effect looks like."""

SIGNIFICANT = 1 - CONFIDENCE


@dataclass(frozen=True)
class Tested:
    """A claim on one training score, at equal evaluations or at equal steps, before it is judged."""

    claim: Claim
    score: str
    mark: Mark
    axis: Axis
    """Which cost a speed is about."""
    effect: Effect
    raw: Estimate | None
    """The same of the trained weights themselves, where it is about the end."""

    @property
    def claimed(self) -> float:
        return self.neutral if self.claim.at_least is None else self.claim.at_least

    @property
    def neutral(self) -> float:
        return NEUTRAL[self.claim.kind]


@dataclass(frozen=True)
class Finding:
    """The same with its verdict."""

    tested: Tested
    p_value: float
    """The p-value of the claim as null hypothesis, corrected for all claims of the plan (Holm)."""
    verdict: Verdict


def findings(plan: Plan, results: Sequence[Result]) -> list[Finding]:
    """A finding for every claim, training score on which both of its cells were trained, and mark."""
    tested = list(_tested(plan, results))
    claimed = holm([one.effect.estimate.p_value(one.claimed) for one in tested])
    neutral = holm([one.effect.estimate.p_value(one.neutral) for one in tested])
    return [
        Finding(one, p, verdict(one.effect.estimate.value, one.claimed, one.neutral, p, p_neutral))
        for one, p, p_neutral in zip(tested, claimed, neutral, strict=True)
    ]


def verdict(found: float, claimed: float, neutral: float, p_claimed: float, p_neutral: float) -> Verdict:
    """confirmed: more than claimed; weakened: an effect in this direction, but not surely of this size; refuted: less
    than claimed, and no effect is shown; open: none of these is significant. p-values are corrected ones."""
    if found > claimed and p_claimed < SIGNIFICANT:
        return "confirmed"
    if claimed > neutral and found > neutral and p_neutral < SIGNIFICANT:
        return "weakened"
    return "refuted" if found < claimed and p_claimed < SIGNIFICANT else "open"


def in_all(found: Sequence[Finding]) -> str:
    """What the findings of one claim on one score say together: a claim about the end has to hold at equal steps too.

    At equal evaluations alone it is arithmetic of cost: more steps, or more images, for the same price.
    """
    verdicts = {one.tested.mark: one.verdict for one in found}
    if len(set(verdicts.values())) == 1:
        return found[0].verdict
    for mark, text in (("evaluations", "at equal evaluations alone"), ("steps", "at equal steps alone")):
        if verdicts.get(mark) == "confirmed":
            return text
    return "open"


def _tested(plan: Plan, results: Sequence[Result]) -> Iterator[Tested]:
    for claim in plan.claims:
        for score in claim.scores or plan.scores:
            if score in plan.scores_of(claim.cell) and score in plan.scores_of(claim.against):
                ours, theirs = (sound(results, "final", score, cell) for cell in (claim.cell, claim.against))
                for mark in MARKS:
                    yield _at(claim, score, mark, until(ours, mark), until(theirs, mark))


def _at(claim: Claim, score: str, mark: Mark, ours: Sequence[Result], theirs: Sequence[Result]) -> Tested:
    if claim.kind == "speed":
        axis: Axis = "steps" if mark == "steps" else claim.axis
        return Tested(claim, score, mark, axis, speed(ours, theirs, axis), None)
    if claim.kind == "equal_score":
        return Tested(claim, score, mark, mark, at_equal_score(ours, theirs, claim.metric), None)
    raw = raw_difference(ours, theirs, claim.metric)
    return Tested(claim, score, mark, mark, Effect(difference(ours, theirs, claim.metric)), raw)
