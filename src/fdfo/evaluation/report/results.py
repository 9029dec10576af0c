"""The held-out result: what changed since before training, paired prompt by prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.decimals import Decimals
from fdfo.evaluation.report.record import Role, RunRecord
from fdfo.evaluation.report.text import fixed
from fdfo.evaluation.statistics import Interval, paired_difference, win_rate

Kind = Role | Literal["diversity", "score"]
"""Role of a score in a run; `score` where there is no run."""

Direction = Literal["rose", "fell", "unclear", "unknown"]
"""Side of zero of a paired 95 % interval; unclear where it includes zero, unknown below two prompts."""


HEADLINE = 3
"""Scores of a role that the headline names in any case."""


@dataclass(frozen=True)
class Change:
    """A score before and after, and its paired difference."""

    label: str
    role: Kind
    before: float
    after: float
    gain: Interval
    win_rate: float
    prompts: int
    places: int
    """Decimals to show."""

    @property
    def direction(self) -> Direction:
        return direction(self.gain)

    @property
    def levels(self) -> tuple[str, str]:
        """Before and after as text."""
        return fixed(self.before, self.places), fixed(self.after, self.places)

    @property
    def missing(self) -> int:
        """Prompts without a value before or after."""
        return self.prompts - self.gain.n


@dataclass(frozen=True)
class Verdict:
    """The result of a comparison in a few words."""

    tone: Literal["better", "mixed", "unclear", "worse"]
    text: str


@dataclass(frozen=True)
class Bar:
    """A difference drawn from zero; percentages of the cell's width."""

    zero: float
    left: float
    width: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """Changes with their bars on one scale."""

    title: str
    role: Kind
    rows: list[tuple[Change, Bar | None]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything said about two evaluations of the same prompts and noise."""

    prompts: int
    images_per_prompt: int
    steps: int
    overall: list[Change]
    by_category: list[Table]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.overall)

    @property
    def has_trained(self) -> bool:
        """Whether the score that was trained on was measured: people are asked about training pictures alone."""
        return any(change.role == "trained" for change in self.overall)

    @property
    def headline(self) -> list[Change]:
        """What the first sentence tells: what was trained on, the first unseen scores, and every score that fell."""
        roles: tuple[Kind, ...] = ("score", "trained", "unseen")
        first = [change for role in roles for change in [one for one in self.overall if one.role == role][:HEADLINE]]
        return first + [change for change in self.overall if change.direction == "fell" and change not in first]


@dataclass(frozen=True, kw_only=True)
class Results(Comparison):
    """Before training against the latest epoch of one run."""

    before_epoch: int
    after_epoch: int


def verdict(changes: Iterable[Change]) -> Verdict:
    """The result in a few words. A run is judged by the score that it trained on, then by what else moved."""
    changes = list(changes)
    fell = [change for change in changes if change.direction == "fell"]
    rose = [change for change in changes if change.direction == "rose"]
    trained = [change.direction for change in changes if change.role == "trained"]
    unseen = [change.direction for change in changes if change.role == "unseen"]
    if unseen and not trained:
        moved = " and ".join(way for way in ("rose", "fell") if way in unseen) or "did not clearly change"
        return Verdict("unclear", f"The trained score is not measured here; unseen scores {moved}")
    gained = "rose" in trained if trained else bool(rose)
    if "fell" in trained or (fell and not trained and not rose):
        return Verdict("worse", "Worse")
    if gained and fell:
        return Verdict("mixed", "Better, at a price")
    if fell:
        return Verdict("mixed", "No clear gain, and a loss")
    if gained and unseen and "rose" not in unseen:
        return Verdict("better", "Better by the trained score alone")
    if gained:
        return Verdict("better", "Better")
    if "unclear" in (trained or [change.direction for change in changes]):
        return Verdict("unclear", "No clear change")
    return Verdict("unclear", "Not comparable")


def direction(gain: Interval) -> Direction:
    """What a paired difference says."""
    if gain.n < 2:
        return "unknown"
    if not gain.excludes_zero:
        return "unclear"
    return "rose" if gain.mean > 0 else "fell"


def results(record: RunRecord, decimals: Decimals) -> Results | None:
    """First against latest evaluation; None before the second one."""
    if len(record.evaluations) < 2:
        return None
    first, last = record.evaluations[0], record.evaluations[-1]
    kept = [score for score in record.scores if score.key in first.metrics]
    scores: list[tuple[str, str, Kind]] = [(score.key, score.label, score.role) for score in kept]
    return Results(before_epoch=first.epoch, after_epoch=last.epoch, **vars(compare(first, last, scores, decimals)))


def compare(
    before: Evaluation, after: Evaluation, scores: Sequence[tuple[str, str, Kind]], decimals: Decimals
) -> Comparison:
    """Paired differences of the scores (key, label, role), and of diversity where both measured it."""
    rows = [*scores]
    if "diversity" in before.metrics and "diversity" in after.metrics:
        rows.append(("diversity", "diversity", "diversity"))
    categories = after.category_names
    tables = []
    for key, label, role in scores if len(categories) > 1 else []:
        asked = [name for name in categories if after.asked_about(key, name)]
        changes = [_change(before, after, key, name, role, decimals[label], name) for name in asked]
        tables.append(Table(label, role, _with_bars(changes)))
    return Comparison(
        prompts=len(after.prompts),
        images_per_prompt=after.images_per_prompt,
        steps=after.steps,
        overall=[_change(before, after, key, label, role, decimals[label]) for key, label, role in rows],
        by_category=tables,
    )


def _change(
    first: Evaluation,
    last: Evaluation,
    key: str,
    label: str,
    role: Kind,
    places: int,
    category: str | None = None,
) -> Change:
    before, after = first.values(key, category), last.values(key, category)
    rate = win_rate(after, before) if role != "diversity" else float("nan")
    gain = last.gain(first, key, category)
    return Change(label, role, _mean(before), _mean(after), gain, rate, last.asked_about(key, category), places)


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _with_bars(changes: Sequence[Change]) -> list[tuple[Change, Bar | None]]:
    """Bars on one scale that holds zero and every interval."""
    ends = [end for change in changes if change.gain.n for end in (change.gain.low, change.gain.high)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) * 1.04 or 1.0

    def at(value: float) -> float:
        return round(2 + 96 * (value - low) / span, 2)

    bars: list[tuple[Change, Bar | None]] = []
    for change in changes:
        gain = change.gain
        left, right = sorted((at(0.0), at(gain.mean))) if gain.n else (0.0, 0.0)
        bar = Bar(at(0.0), left, round(right - left, 2), at(gain.low), at(gain.high)) if gain.n else None
        bars.append((change, bar))
    return bars


def metrics(record: RunRecord) -> dict[str, str]:
    """Label and key of everything that the latest evaluation measured."""
    found = {score.label: score.key for score in record.scores}
    has_diversity = any(past.diversity is not None for past in record.evaluations[-1:])
    return {**found, **({"diversity": "diversity"} if has_diversity else {})}


def against(record: RunRecord, base: RunRecord, label: str) -> Interval | None:
    """Latest score of a run minus that of another on the same prompts and noise; None where they are not the same."""
    if not record.evaluations or not base.evaluations:
        return None
    ours, theirs = record.evaluations[-1], base.evaluations[-1]
    if (ours.prompts, ours.images_per_prompt, ours.steps) != (theirs.prompts, theirs.images_per_prompt, theirs.steps):
        return None
    if record.noise_seed != base.noise_seed:
        return None
    keys = metrics(record).get(label), metrics(base).get(label)
    if keys[0] is None or keys[1] is None:
        return None
    return paired_difference(ours.values(keys[0]), theirs.values(keys[1]))


def change_of(record: RunRecord, label: str, decimals: Decimals) -> Change | None:
    """First against latest evaluation of one score, or of diversity; None where there is no such comparison."""
    key = metrics(record).get(label)
    if len(record.evaluations) < 2 or key is None:
        return None
    first, last = record.evaluations[0], record.evaluations[-1]
    roles: dict[str, Kind] = {score.label: score.role for score in record.scores}
    role = roles.get(label, "diversity")
    return _change(first, last, key, label, role, decimals[label]) if key in first.metrics else None
