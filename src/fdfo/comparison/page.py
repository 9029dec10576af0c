"""The page of a comparison, as HTML that loads nothing and as Markdown with one picture, from its results alone.

Curves come first, then the claims, then the tables, and how it was found last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdfo.comparison.cells import Configurations
from fdfo.comparison.curves import AXES, MARKS, until
from fdfo.comparison.effects import level_at_end
from fdfo.comparison.figures import charts, picture, quality_charts
from fdfo.comparison.outcomes import claims_table, cost_table, equal_score_table, final_table, guidance_table
from fdfo.comparison.plan import TRAINING_SCORE, Axis, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.settings import budget_table, cells_table, failures_table, tuning_table
from fdfo.comparison.tables import Table, labels, mark_text, told
from fdfo.evaluation.report.chart import Chart
from fdfo.evaluation.report.page import fill
from fdfo.evaluation.report.text import duration, enumerate_words, number
from fdfo.visible import visible
from fdfo.words import plural

LIMITS = {
    "shapes": (
        "What the embedded model cannot show: its pictures are 32 x 32, its world is four shapes in eight colours, and "
        "its network has 2.3 million weights. Captions are short and scores of it are computed, not judged, so what a "
        "preference model rewards wrongly, text, hands, faces and style do not occur. Its noise between prompts, its "
        "best learning rates and the cost of a gradient beside that of a sample are its own. An order of methods found "
        "here is a question to a large model, not an answer."
    )
}
"""By policy, what a page says of every comparison made with it."""


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
            "limits": limits(plan),
            "facts": facts(plan, results),
            "axes": [
                AxisView(
                    axis, name, charts(plan, results, axis), [cost_table(plan, results, s, axis) for s in plan.scores]
                )
                for axis, name in AXES.items()
            ],
            "quality": quality_charts(plan, results),
            "claims": claims_table(plan, results),
            "tables": list(_tables(plan, results)),
            "details": list(_details(plan, results)),
            "runs": list(plan.cells),
        },
    )


def markdown(plan: Plan, results: Sequence[Result], command: str) -> str:
    """The same tables; `command` is what writes them."""
    blocks = [f"# {plan.title}", *([plan.about.strip()] if plan.about else []), *headlines(plan, results), limits(plan)]
    blocks += [f"![Curves]({plan.name}.svg)", "*Bands: 95 % intervals over seeds and prompts.*"]
    claims = claims_table(plan, results)
    blocks += [claims.markdown()] if claims is not None else []
    costs = [cost_table(plan, results, score, axis) for score in plan.scores for axis in AXES]
    blocks += [table.markdown() for table in (*_tables(plan, results), *costs)]
    blocks += ["## How it was found", f"Written by `{command}`."]
    blocks += ["\n".join(f"- {term}: {value}" for term, value in facts(plan, results))]
    blocks += [table.markdown() for table in _details(plan, results)]
    return visible("\n\n".join(block for block in blocks if block) + "\n")


def svg(plan: Plan, results: Sequence[Result]) -> str:
    """The picture of the Markdown page: every metric at equal evaluations, and at equal steps, then quality."""
    over = [chart for axis in MARKS for chart in charts(plan, results, axis)]
    return visible(picture([*over, *quality_charts(plan, results)]))


def limits(plan: Plan) -> str:
    """What a comparison with this model cannot show; empty for a model of one's own."""
    return LIMITS.get(Configurations(plan).policy, "")


HEADLINE_CELLS = 12
"""With more cells, a headline names only the best and the reference."""


def headlines(plan: Plan, results: Sequence[Result]) -> list[str]:
    """For every training score and mark, which cell is highest, of those that start alike."""
    lines = []
    for score in plan.scores:
        for mark in MARKS:
            finals = {cell: until(sound(results, "final", score, cell), mark) for cell in plan.cells_on(score)}
            ends = {cell: level_at_end(own, TRAINING_SCORE) for cell, own in finals.items() if own}
            if ends:
                named = labels(plan, results, score)
                best = max((cell for cell in ends if named[cell] == cell), key=lambda cell: ends[cell].value)
                few = len(ends) <= HEADLINE_CELLS
                others = [cell for cell in ends if cell != best and (few or cell == plan.reference_cell)]
                rest = ", ".join(f"{named[cell]} {number(ends[cell].value, 3)}" for cell in others)
                lines.append(
                    f"Trained on {score}, at {mark_text(plan, results, mark)}: {best} is highest, "
                    f"{told(ends[best])}" + f"; {rest}." * bool(rest)
                )
    return lines or ["No run has come to its end yet."]


def facts(plan: Plan, results: Sequence[Result]) -> list[tuple[str, str]]:
    """What was run, when and where: (term, value)."""
    finals = [one for one in results if one.stage == "final"]
    tuning = sum(one.stage == "tuning" for one in results)
    done = sum(one.is_sound for one in finals)
    planned = sum(len(plan.scores_of(cell)) for cell in plan.cells) * len(plan.seeds)
    seconds = sum(sum(one.phases.values()) for one in results)
    judged = plan.test
    rows = [
        ("Runs", f"{done} of {planned} final, {plural(tuning, 'tuning run')}"),
        ("Seeds", ", ".join(map(str, plan.seeds)) + ("; none was left out" if done == planned else "")),
        ("A run", " and ".join(mark_text(plan, results, mark) for mark in MARKS)),
        (
            "Judged on",
            f"{plural(judged.prompts, 'prompt')} of {judged.path or judged.name}, "
            f"{plural(judged.images, 'image')} each",
        ),
        ("Time", f"{duration(seconds)} of runs in all, one after another, with their evaluations"),
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
    """What was found beside the claims."""
    found: list[Table | None] = []
    for score in plan.scores:
        found += [final_table(plan, results, score, mark) for mark in MARKS]
        found += [equal_score_table(plan, results, score, mark) for mark in MARKS]
        found += [guidance_table(plan, results, score)]
    return (table for table in [*found, failures_table(results)] if table is not None)


def _details(plan: Plan, results: Sequence[Result]) -> Iterator[Table]:
    """How it was found."""
    found = [tuning_table(plan, results, Configurations(plan)), budget_table(plan, results), cells_table(plan)]
    return (table for table in found if table is not None)
