"""The page of a comparison, as HTML that loads nothing and as Markdown, from its results alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdfo.comparison.curves import AXES, cost
from fdfo.comparison.plan import TRAINING_SCORE, Axis, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.statistics import mean_over_seeds
from fdfo.comparison.tables import (
    Table,
    budget_table,
    cells_table,
    claims_table,
    cost_table,
    equal_score_table,
    failures_table,
    final_table,
    labels,
    metric_name,
    tuning_table,
)
from fdfo.evaluation.report.chart import Chart, Point, Series, draw
from fdfo.evaluation.report.curves import color_of_run
from fdfo.evaluation.report.page import fill
from fdfo.evaluation.report.text import duration, enumerate_words, number, plural, with_bounds
from fdfo.visible import visible


@dataclass(frozen=True)
class AxisView:
    """Curves and costs over one axis."""

    name: Axis
    label: str
    charts: list[Chart]
    tables: list[Table]


def html(plan: Plan, results: Sequence[Result]) -> str:
    """The page as text."""
    return fill(
        "plan.html",
        {
            "plan": plan,
            "headlines": headlines(plan, results),
            "facts": facts(plan, results),
            "axes": [_axis(plan, results, axis) for axis in AXES],
            "tables": list(_tables(plan, results)),
            "details": list(_details(plan, results)),
            "runs": list(plan.cells),
        },
    )


def markdown(plan: Plan, results: Sequence[Result], command: str) -> str:
    """The same tables; `command` is what writes them."""
    blocks = [f"# {plan.title}", *([plan.about.strip()] if plan.about else []), f"Written by `{command}`."]
    blocks += headlines(plan, results)
    blocks += ["\n".join(f"- {term}: {value}" for term, value in facts(plan, results))]
    costs = [cost_table(plan, results, score, axis) for score in plan.scores for axis in AXES]
    blocks += [table.markdown() for table in (*_tables(plan, results), *costs, *_details(plan, results))]
    return visible("\n\n".join(blocks) + "\n")


HEADLINE_CELLS = 10
"""Of more cells, the headline names the best and the reference."""


def headlines(plan: Plan, results: Sequence[Result]) -> list[str]:
    """For every training score, which cell ends highest, of those that start alike."""
    lines = []
    for score in plan.scores:
        ends = {
            cell: mean_over_seeds([one.curve[-1].values[TRAINING_SCORE] for one in own])
            for cell in plan.cells
            if (own := sound(results, "final", score, cell))
        }
        if ends:
            named = labels(plan, results, score)
            best = max((cell for cell in ends if named[cell] == cell), key=lambda cell: ends[cell].mean)
            few = len(ends) <= HEADLINE_CELLS
            others = [cell for cell in ends if cell != best and (few or cell == plan.reference_cell)]
            rest = ", ".join(f"{named[cell]} {number(ends[cell].mean, 3)}" for cell in others)
            lines.append(
                f"Trained on {score}, {best} ends highest, at {with_bounds(ends[best])}" + f"; {rest}." * bool(rest)
            )
    return lines or ["No run has come to its end yet."]


def facts(plan: Plan, results: Sequence[Result]) -> list[tuple[str, str]]:
    """What was run, when and where: (term, value)."""
    finals = [one for one in results if one.stage == "final"]
    done = sum(one.is_sound for one in finals)
    planned = sum(len(plan.scores_of(cell)) for cell in plan.cells) * len(plan.seeds)
    seconds = sum(sum(one.seconds.values()) for one in results)
    judged = plan.test
    rows = [
        ("Runs", f"{done} of {planned} final, {plural(len(results) - len(finals), 'tuning run')}"),
        ("Seeds", ", ".join(map(str, plan.seeds)) + ("; none was left out" if done == planned else "")),
        ("Budget", f"{plan.budget:,.0f} network evaluations a run"),
        (
            "Judged on",
            f"{judged.prompts} prompts of {judged.path or judged.name}, {plural(judged.images, 'image')} each",
        ),
        ("Time", f"{duration(seconds)} of runs in all, one after another"),
    ]
    return rows + places_facts([one.environment for one in results if one.environment])


def places_facts(places: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """When and where something was measured, from the environments of its runs: (term, value)."""
    if not places:
        return []
    days = sorted(str(place["started"])[:10] for place in places)
    return [
        ("Dates", " to ".join(dict.fromkeys((days[0], days[-1])))),
        ("Versions", _distinct(f"{name} {version}" for one in places for name, version in _versions(one))),
        ("Hardware", _distinct(f"{one['system']}, {_devices(one)}" for one in places)),
    ]


def _distinct(values: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _versions(place: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name, place["libraries"][name]) for name in ("fdfo", "torch", "diffusers", "transformers"))


def _devices(place: Mapping[str, Any]) -> str:
    return f"{enumerate_words(place['devices'])}, {plural(int(place['threads']), 'thread')} a run"


def _tables(plan: Plan, results: Sequence[Result]) -> Iterator[Table]:
    """What was found."""
    found = [claims_table(plan, results)]
    for score in plan.scores:
        found += [final_table(plan, results, score), equal_score_table(plan, results, score)]
    return (table for table in [*found, failures_table(results)] if table is not None)


def _details(plan: Plan, results: Sequence[Result]) -> Iterator[Table]:
    """How it was found."""
    found = [tuning_table(plan, results), budget_table(plan, results), cells_table(plan)]
    return (table for table in found if table is not None)


def _axis(plan: Plan, results: Sequence[Result], axis: Axis) -> AxisView:
    charts = [
        chart
        for score in plan.scores
        for group in dict.fromkeys(cell.group for name, cell in plan.cells.items() if name != plan.reference_cell)
        for metric in plan.metrics(score)
        if (chart := _chart(plan, results, score, group, metric, axis)) is not None
    ]
    return AxisView(axis, AXES[axis], charts, [cost_table(plan, results, score, axis) for score in plan.scores])


def _chart(plan: Plan, results: Sequence[Result], score: str, group: str, metric: str, axis: Axis) -> Chart | None:
    """A metric against a cost: the mean over seeds of the cells of a group, and of the reference."""
    shown = [name for name, cell in plan.cells.items() if cell.group == group or name == plan.reference_cell]
    series = [
        Series(cell, color_of_run(index), _points(sound(results, "final", score, cell), metric, axis))
        for index, cell in enumerate(shown)
    ]
    title = f"{metric_name(metric).capitalize()}, trained on {score}" + (f": {group}" if group else "")
    badge = "trained" if metric == TRAINING_SCORE else "" if metric == "diversity" else "unseen"
    return draw(title, series, x_name=AXES[axis], badge=badge)


def _points(own: Sequence[Result], metric: str, axis: Axis) -> list[Point]:
    """The mean curve of runs with the same points, with intervals over seeds."""
    found = []
    for places in zip(*(one.curve for one in own), strict=True):
        x = sum(cost(place, axis, one.trained_cost) for place, one in zip(places, own, strict=True)) / len(own)
        y = mean_over_seeds([place.values.get(metric, float("nan")) for place in places])
        low, high = (y.low, y.high) if y.n > 1 else (float("nan"), float("nan"))
        label = f"{number(x, 3)} {axis if axis != 'seconds' else 's'}"
        found.append(Point(x, y.mean, low, high, label, with_bounds(y)))
    return found
