"""Tables of a comparison: text in rows, for the page and for Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose, isfinite

from fdfo.comparison.curves import AXES, cost, cost_to_reach, final
from fdfo.comparison.plan import TRAINING_SCORE, Axis, Claim, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.selection import chosen_point, edges, tried
from fdfo.comparison.statistics import mean_over_seeds, median_over_seeds
from fdfo.comparison.verdicts import Finding, equal_score_difference, findings, paired
from fdfo.evaluation.report.text import NONE, bounds, duration, fixed, number, places_of, places_of_spread, with_bounds
from fdfo.evaluation.statistics import Interval

METRIC_NAMES = {TRAINING_SCORE: "training score"}
NEVER = "never"
LEVELS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the best rise whose cost is shown, where the plan names no levels."""


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


OTHER_START = " A cell `from` another score draws its images in another way: its difference is not what training did."


def metric_name(metric: str) -> str:
    """What a metric is called in a table."""
    return METRIC_NAMES.get(metric, metric)


def labels(plan: Plan, results: Sequence[Result], score: str) -> dict[str, str]:
    """Names of the cells with results; one that draws in its own way, as with guidance, with its first score."""
    starts = {
        cell: own[0].curve[0].values[TRAINING_SCORE]
        for cell in _cells(plan, score)
        if (own := sound(results, "final", score, cell))
    }
    common = starts.get(plan.reference_cell, next(iter(starts.values()), 0.0))
    is_common = {cell: isclose(start, common, rel_tol=1e-6) for cell, start in starts.items()}
    return {cell: cell if is_common[cell] else f"{cell} (from {_level(start)})" for cell, start in starts.items()}


def final_table(plan: Plan, results: Sequence[Result], score: str) -> Table:
    """Every metric at the end of the budget, and the difference of the training score to the reference."""
    metrics = plan.metrics(score)
    named = labels(plan, results, score)
    starts = [one for cell in (plan.reference_cell, *plan.cells) for one in sound(results, "final", score, cell)][:1]
    rows = [["before training", *(_level(one.curve[0].values[TRAINING_SCORE]) for one in starts), ""]]
    rows[0] += [_level(one.curve[0].values.get(metric)) for one in starts for metric in metrics[1:]]
    rows[0] += [""]
    reference = sound(results, "final", score, plan.reference_cell)
    for cell in _cells(plan, score):
        own = sound(results, "final", score, cell)
        gap = mean_over_seeds([final(ours) - final(theirs) for ours, theirs in paired(own, reference)])
        ends = [mean_over_seeds([final(one, metric) for one in own]) for metric in metrics]
        difference = "reference" if cell == plan.reference_cell else signed(gap)
        seeds = f"{len(own)} of {len(plan.seeds)}"
        rows.append([named.get(cell, cell), with_bounds(ends[0]), difference, *map(with_bounds, ends[1:]), seeds])
    names = [metric_name(metric) for metric in metrics]
    return Table(
        f"At the end of the budget, trained on {score}",
        ["cell", names[0], f"difference to {plan.reference_cell}", *names[1:], "seeds"],
        rows if starts else rows[1:],
        "Mean over seeds with Student's 95 % interval; the difference is paired by seed."
        + OTHER_START * any(name != cell for cell, name in named.items()),
    )


def cost_table(plan: Plan, results: Sequence[Result], score: str, axis: Axis) -> Table:
    """Cost to reach levels of the training score."""
    levels = plan.levels or _levels(plan, results, score)
    rows = []
    for cell in _cells(plan, score):
        own = sound(results, "final", score, cell)
        rows.append([cell, *(_cost([cost_to_reach(one, level, axis) for one in own]) for level in levels)])
    return Table(
        f"Cost to reach a training score on {score}, in {AXES[axis]}",
        ["cell", *(fixed(level, places_of_spread(levels)) for level in levels)],
        rows,
        f"Median over seeds and its interval from the order of the seeds; {NEVER}: not within the budget.",
    )


def equal_score_table(plan: Plan, results: Sequence[Result], score: str) -> Table | None:
    """Unseen scores and diversity against the reference at the same training score; None where none is measured."""
    metrics = plan.metrics(score)[1:]
    others = [cell for cell in _cells(plan, score) if cell != plan.reference_cell]
    if not metrics or not others or plan.reference_cell not in _cells(plan, score):
        return None
    reference, rows = sound(results, "final", score, plan.reference_cell), []
    for cell in others:
        pairs = paired(sound(results, "final", score, cell), reference)
        found = [equal_score_difference(pairs, metric) for metric in metrics]
        rows.append([cell, _level(found[0][0]), *(signed(gap) for _, gap in found)])
    return Table(
        f"At equal training score on {score}: difference to {plan.reference_cell}",
        ["cell", "training score", *map(metric_name, metrics)],
        rows,
        "Where both curves first reach the lower of their two final training scores, by straight lines between "
        "evaluations; paired by seed.",
    )


def claims_table(plan: Plan, results: Sequence[Result]) -> Table | None:
    """The claims and what became of them."""
    found = findings(plan, results)
    if not found:
        return None
    return Table(
        "Claims",
        ["claim", "trained on", "claimed", "found", "verdict"],
        [[one.claim.statement, one.score, _claimed(one), _found(one), one.verdict] for one in found],
        "confirmed: all of the 95 % interval is beyond what is claimed; weakened: an effect in this direction, but not "
        "surely of this size; refuted: what is claimed lies above the interval; open: the interval does not decide.",
    )


def tuning_table(plan: Plan, results: Sequence[Result]) -> Table | None:
    """What was tried in every cell, and chosen."""
    rows = []
    for score in plan.scores:
        for cell in _cells(plan, score):
            options, best = tried(plan, results, score, cell), chosen_point(plan, results, score, cell)
            if len(options) == 1:
                continue
            others = sorted((one.mean for i, one in enumerate(options) if i != best), reverse=True)
            beyond = [] if best is None else edges(plan, cell, best)
            chosen = (
                "none" if best is None else ", ".join(f"{key}={value}" for key, value in options[best].swept.items())
            )
            value = NONE if best is None else _level(options[best].mean)
            rows.append([cell, score, chosen, value, ", ".join(map(_level, others)), ", ".join(beyond) or "no"])
    if not rows:
        return None
    return Table(
        "Chosen settings",
        ["cell", "trained on", "chosen", "training score", "the others", "at the edge of its sweep"],
        rows,
        f"Chosen by the training score on validation prompts, seeds {', '.join(map(str, plan.tuning_seeds))}; {NONE}: "
        "the run failed.",
    )


def budget_table(plan: Plan, results: Sequence[Result]) -> Table:
    """What the runs of every cell cost."""
    rows = []
    for score in plan.scores:
        for cell in _cells(plan, score):
            own = sound(results, "final", score, cell)
            if not own:
                continue
            last, runs = own[0].curve[-1], len(own)
            spent = cost(last, "evaluations", own[0].trained_cost)
            seconds = sum(one.curve[-1].seconds for one in own) / runs
            counts = [f"{value:,}" for value in (last.epoch, last.images, last.forwards, last.trained)]
            rows.append([cell, score, *counts, f"{spent:,.0f}", duration(seconds), _measured_cost(own)])
    return Table(
        "What a run costs",
        ["cell", "trained on", "epochs", "images", "forward", "forward and backward", "evaluations", "training time",
         "a trained row"],
        rows,
        f"Budget: {plan.budget:,.0f} network evaluations, of which whole epochs are spent, in rows of its batch; "
        "evaluations counts a row forward and backward as the plan says. A trained row: time of training over time of "
        "sampling, for a row each, as measured here.",
    )  # fmt: skip


def failures_table(results: Sequence[Result]) -> Table | None:
    """Runs that did not come to their end."""
    failed = [[str(one.run), one.error or ""] for one in results if not one.is_sound]
    return Table("Runs that failed", ["run", "why"], failed) if failed else None


def cells_table(plan: Plan) -> Table:
    """What every cell is."""
    rows = []
    for name, cell in plan.cells.items():
        changes = ", ".join(f"{key}={value}" for key, value in cell.changes.items())
        sweep = "; ".join(f"{key} in {', '.join(map(str, values))}" for key, values in plan.sweep_of(name).items())
        rows.append([name, cell.recipe or plan.recipe, changes or NONE, ", ".join(cell.differs) or NONE, sweep or NONE])
    return Table("Cells", ["cell", "recipe", "changes", "recipe may differ in", "tried"], rows)


# ---- text ----


def signed(gap: Interval) -> str:
    """A difference with its interval."""
    places = places_of(gap)
    return f"{fixed(gap.mean, places, signed=True)} {bounds(gap, signed=True, places=places)}".strip()


def _cells(plan: Plan, score: str) -> list[str]:
    return [cell for cell in plan.cells if score in plan.scores_of(cell)]


def _levels(plan: Plan, results: Sequence[Result], score: str) -> list[float]:
    """Shares of the way from the start to the best mean end."""
    by_cell = [sound(results, "final", score, cell) for cell in _cells(plan, score)]
    ends = [mean_over_seeds([final(one) for one in own]).mean for own in by_cell if own]
    if not ends:
        return []
    start = next(own for own in by_cell if own)[0].curve[0].values[TRAINING_SCORE]
    return [start + share * (max(ends) - start) for share in LEVELS]


def _level(value: float | None) -> str:
    return number(value, 3)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if isfinite(value) else NEVER


def _cost(costs: Sequence[float]) -> str:
    found = median_over_seeds(costs)
    if found.n == 0:
        return NONE
    if found.low == found.high:
        return _amount(found.mean)
    return f"{_amount(found.mean)} [{_amount(found.low)}, {_amount(found.high)}]"


def _claimed(one: Finding) -> str:
    claim: Claim = one.claim
    if claim.kind == "speed":
        factor = f"{number(one.claimed, 3)} times " if one.claimed != 1 else ""
        return f"{factor}fewer {AXES[claim.axis]}"
    where = " at equal training score" if claim.kind == "equal_score" else ""
    size = f" by {number(one.claimed, 3)}" if one.claimed else ""
    return f"{metric_name(claim.metric)} of {claim.cell} above {claim.against}{where}{size}"


def _found(one: Finding) -> str:
    if one.claim.kind != "speed" or not one.found.n:
        return signed(one.found)
    ends = [number(value, 3) if isfinite(value) else "∞" for value in (one.found.mean, one.found.low, one.found.high)]
    return f"{ends[0]} [{ends[1]}, {ends[2]}]"


def _measured_cost(own: Sequence[Result]) -> str:
    """Time of a row forward and backward over that of a row forward."""
    sampling, training = (sum(one.seconds.get(name, 0.0) for one in own) for name in ("sample", "train"))
    forwards, trained = (sum(getattr(one.curve[-1], name) for one in own) for name in ("forwards", "trained"))
    return number((training / trained) / (sampling / forwards), 3) if sampling and trained else NONE
