"""Tables of a comparison: text in rows, for the page and for Markdown alike; and how numbers are told in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isclose, isfinite

from fdfo.comparison.curves import AXES, Mark
from fdfo.comparison.plan import TRAINING_SCORE, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.statistics import Estimate
from fdfo.evaluation.report.text import NONE, bounds, fixed, number, percent, places_of
from fdfo.evaluation.statistics import Interval

METRIC_NAMES = {TRAINING_SCORE: "training score"}
NEVER = "never"

IN_BRACKETS = "In round brackets: number of seeds, and how often such an interval holds the truth."

OVER_BOTH = "Intervals over seeds and prompts: hierarchical bootstrap, Student's distribution. "


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column names the row."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""

    def markdown(self) -> str:
        """The table, its title as a paragraph above."""
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in [self.head, *self.rows]]
        lines = ["| " + " | ".join(row) + " |" for row in escaped]
        lines.insert(1, "|" + "---|" * len(self.head))
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else [])])


def metric_name(metric: str) -> str:
    """What a metric is called in a table."""
    return METRIC_NAMES.get(metric, metric)


def mark_text(plan: Plan, results: Sequence[Result], mark: Mark) -> str:
    """`240,000 network evaluations`."""
    steps = next((steps_of(one) for one in results if one.stage == "final" and one.is_sound), None)
    amount = plan.budget if mark == "evaluations" else plan.steps or steps
    return f"{amount:,.0f} {AXES[mark]}" if amount else AXES[mark]


def steps_of(result: Result) -> int:
    """Optimizer steps at the plan's steps."""
    return next(point.steps for point in result.curve if point.epoch == result.steps_epoch)


def labels(plan: Plan, results: Sequence[Result], score: str) -> dict[str, str]:
    """Names of the cells with results; one that draws in its own way, as with guidance, with its first score."""
    starts = {
        cell: own[0].curve[0].values[TRAINING_SCORE]
        for cell in plan.cells_on(score)
        if (own := sound(results, "final", score, cell))
    }
    common = starts.get(plan.reference_cell, next(iter(starts.values()), 0.0))
    is_common = {cell: isclose(start, common, rel_tol=1e-6) for cell, start in starts.items()}
    return {cell: cell if is_common[cell] else f"{cell} (from {level(start)})" for cell, start in starts.items()}


def level(value: float | None, places: int | None = None) -> str:
    """A score, with three digits, or the decimals of its column."""
    return number(value, 3) if places is None or value is None else fixed(value, places)


def told(found: Estimate, places: int | None = None) -> str:
    """`0.634 [0.613, 0.655] (5, 95%)`, with the decimals that the interval needs, or those of its column."""
    return _with_interval(found, places, is_signed=False)


def signed(found: Estimate, places: int | None = None) -> str:
    """The same of a difference, with its sign."""
    return _with_interval(found, places, is_signed=True)


def places_together(column: Iterable[Estimate]) -> int | None:
    """Decimals for all of a column: what the narrowest of its intervals needs; None where there is no interval."""
    known = [found for found in column if found.has_interval and isfinite(found.value)]
    return max((places_of(as_interval(found)) for found in known), default=None)


def _with_interval(found: Estimate, places: int | None, is_signed: bool) -> str:
    interval = as_interval(found)
    places = places_of(interval) if places is None else places
    value = fixed(found.value, places, signed=is_signed)
    if not found.has_interval or not isfinite(found.value):
        return value if found.n else NONE
    return f"{value} {bounds(interval, is_signed, places)} {brackets(found)}"


def ratio(found: Estimate) -> str:
    """A ratio of costs, which may be infinite or 0."""
    if not found.n or found.value != found.value:
        return NONE
    value, low, high = (number(one, 3) if isfinite(one) else "∞" for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}] {brackets(found)}" if found.has_interval else value


def amount(found: Estimate) -> str:
    """A cost, which may be infinite."""
    if not found.n:
        return NONE
    value, low, high = (f"{one:,.0f}" if isfinite(one) else NEVER for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}] {brackets(found)}" if found.has_interval else value


def brackets(found: Estimate) -> str:
    """`(5, 95%)`: seeds and coverage."""
    return f"({found.n}, {percent(found.coverage)})"


def as_interval(found: Estimate) -> Interval:
    """Convert to the type that the functions for text take."""
    return Interval(found.value, found.low, found.high, found.n)
