"""Tables of what was found: at equal cost, steps and training score, against guidance; and the claims."""

from collections.abc import Sequence
from dataclasses import replace

from fdfo.comparison.cells import guidance_name
from fdfo.comparison.curves import AXES, Mark, until
from fdfo.comparison.effects import (
    above_guidance,
    at_equal_score,
    difference,
    level_at_end,
    noise_of_start,
    raw_at_end,
    reach,
)
from fdfo.comparison.plan import TRAINING_SCORE, Axis, Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.tables import (
    IN_BRACKETS,
    OVER_BOTH,
    Table,
    amount,
    labels,
    level,
    mark_text,
    metric_name,
    places_together,
    ratio,
    signed,
    told,
)
from fdfo.comparison.verdicts import Finding, Tested, findings, in_all
from fdfo.evaluation.report.text import NONE, fixed, number, places_of_spread
from fdfo.words import plural

LEVELS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the best rise whose cost is shown, where the plan names no levels."""

OTHER_START = " A cell `from` another score draws its images in another way: its difference is not what training did."


def final_table(plan: Plan, results: Sequence[Result], score: str, mark: Mark) -> Table:
    """Every metric at equal evaluations or at equal steps; the training score less the reference's."""
    metrics, named = plan.metrics(score), labels(plan, results, score)
    runs = {cell: until(sound(results, "final", score, cell), mark) for cell in plan.cells_on(score)}
    reference = runs.get(plan.reference_cell, [])
    starts = [own[0].curve[0].values for own in (reference, *runs.values()) if own][:1]
    found = {cell: [level_at_end(own, metric) for metric in metrics] for cell, own in runs.items()}
    raw = {cell: raw_at_end(own, TRAINING_SCORE) for cell, own in runs.items()}
    others = {cell: own for cell, own in runs.items() if cell != plan.reference_cell}
    gaps = {cell: difference(own, reference, TRAINING_SCORE) for cell, own in others.items()}
    columns = [
        [*column, *(raw.values() if not i else ())] for i, column in enumerate(zip(*found.values(), strict=True))
    ]
    places, of_gaps = [places_together(column) for column in columns], places_together(gaps.values())
    rows = []
    for one in starts:
        levels = [level(one.get(metric), digits) for metric, digits in zip(metrics, places, strict=True)]
        rows.append(["before training", levels[0], "", "", *levels[1:], "", ""])
    for cell, own in runs.items():
        gap = signed(gaps[cell], of_gaps) if cell in gaps else "reference"
        ends = [told(end, digits) for end, digits in zip(found[cell], places, strict=True)]
        spent = [f"{own[0].curve[-1].steps:,}", f"{own[0].curve[-1].evaluations:,.0f}"] if own else [NONE, NONE]
        rows.append([named.get(cell, cell), ends[0], gap, told(raw[cell], places[0]), *ends[1:], *spent])
    names = [metric_name(metric) for metric in metrics]
    head = ["cell", names[0], f"difference to {plan.reference_cell}", f"{names[0]}, raw weights", *names[1:]]
    return Table(
        f"At {mark_text(plan, results, mark)}, trained on {score}",
        [*head, "steps", "evaluations"],
        rows,
        f"The averaged weights, where a run has an average; raw: the trained weights themselves. {OVER_BOTH}"
        f"Differences are paired by seed. {IN_BRACKETS}"
        + OTHER_START
        * any(name != cell for cell, name in named.items()),
    )


def equal_score_table(plan: Plan, results: Sequence[Result], score: str, mark: Mark) -> Table | None:
    """What is not trained on against the reference at the same training score; None where there is nothing."""
    metrics = plan.metrics(score)[1:]
    cells = plan.cells_on(score)
    if plan.reference_cell not in cells or len(cells) < 2:
        return None
    reference, rows = until(sound(results, "final", score, plan.reference_cell), mark), []
    others = {
        cell: [at_equal_score(until(sound(results, "final", score, cell), mark), reference, one) for one in metrics]
        for cell in cells
        if cell != plan.reference_cell
    }
    places = [places_together(one.estimate for one in column) for column in zip(*others.values(), strict=True)]
    for cell, found in others.items():
        pairs = found[0].estimate.n
        at = [level(found[0].level), f"{pairs - found[0].without_level} of {pairs}"]
        rows.append([cell, *at, *(signed(one.estimate, digits) for one, digits in zip(found, places, strict=True))])
    return Table(
        f"At equal training score on {score}, within {mark_text(plan, results, mark)}: difference to "
        f"{plan.reference_cell}",
        ["cell", "mean level", "pairs with a level", *map(metric_name, metrics)],
        rows,
        "Every pair of seeds has a level of its own: the lower of its two last training scores; both are read where "
        "they first reach it, on straight lines between evaluations. A level inside the noise of the start is none, "
        f"and then there is no difference. {OVER_BOTH}{IN_BRACKETS}",
    )


def guidance_table(plan: Plan, results: Sequence[Result], score: str) -> Table | None:
    """The untrained model under guidance, and the cells against it at equal training score; None without any."""
    guided = guided_results(plan, results, score)
    if not guided:
        return None
    metrics = plan.metrics(score)
    rows = [
        [
            f"base, guidance {dict(one.swept).get('policy.guidance', 1)}",
            *(level(one.curve[0].values.get(m)) for m in metrics),
        ]
        for one in guided
    ]
    for cell in plan.cells_on(score):
        own = until(sound(results, "final", score, cell), "evaluations")
        gaps = [signed(above_guidance(own, guided, metric)) for metric in metrics[1:]] if own else []
        if own:
            rows.append([f"{cell}, above the base", told(level_at_end(own, TRAINING_SCORE)), *gaps])
    return Table(
        f"Against the untrained model under guidance, {score}",
        ["", *map(metric_name, metrics)],
        rows,
        f"Cells at {mark_text(plan, results, 'evaluations')}: what they have more than the untrained model under the "
        f"guidance that gives it the same training score, on straight lines between guidances; {NONE}: a seed scores "
        f"above all of them. {OVER_BOTH}{IN_BRACKETS}",
    )


def guided_results(plan: Plan, results: Sequence[Result], score: str) -> list[Result]:
    """The untrained model without and under guidance, by training score; empty where none was asked for."""
    own = [one for scale in plan.guidance for one in sound(results, "guidance", score, guidance_name(scale))]
    finals = [one for cell in plan.cells_on(score) for one in sound(results, "final", score, cell)]
    start = [replace(one, curve=one.curve[:1]) for one in finals[:1]]
    return sorted([*start, *own], key=lambda one: one.curve[0].values[TRAINING_SCORE]) if own else []


def cost_table(plan: Plan, results: Sequence[Result], score: str, axis: Axis) -> Table:
    """Cost to reach levels of the training score."""
    mark: Mark = "steps" if axis == "steps" else "evaluations"
    runs = {cell: until(sound(results, "final", score, cell), mark) for cell in plan.cells_on(score)}
    levels, hidden = _levels(plan, list(runs.values()))
    rows = [[cell, *(amount(reach(own, one, axis)) if own else NONE for one in levels)] for cell, own in runs.items()]
    inside = ", ".join(map(level, hidden))
    return Table(
        f"Cost to reach a training score on {score}, in {AXES[axis]}",
        ["cell", *(fixed(one, places_of_spread([*levels, *hidden])) for one in levels)],
        rows,
        "Of whole epochs, at the evaluation that first saw the level; the median over seeds with its interval over "
        f"seeds and prompts; never: not within {mark_text(plan, results, mark)}; no run is left out. {IN_BRACKETS}"
        + (f" No levels, because they lie inside the noise of the start: {inside}." if hidden else ""),
    )


def _levels(plan: Plan, runs: Sequence[Sequence[Result]]) -> tuple[list[float], list[float]]:
    """Those of the plan, or shares of the way from the start to the best mean end; and those of them that are none."""
    ends = [level_at_end(own, TRAINING_SCORE).value for own in runs if own]
    if not ends:
        return [], []
    first = next(own for own in runs if own)[0]
    start = first.curve[0].values[TRAINING_SCORE]
    wanted = plan.levels or [start + share * (max(ends) - start) for share in LEVELS]
    noise = noise_of_start(first)
    return [one for one in wanted if one > noise], [one for one in wanted if one <= noise]


def claims_table(plan: Plan, results: Sequence[Result]) -> Table | None:
    """The claims and what became of them, each at equal evaluations and at equal steps."""
    found = findings(plan, results)
    if not found:
        return None
    rows = []
    for one in found:
        same = [other for other in found if _key(other.tested) == _key(one.tested)]
        verdict = in_all(same) if one is same[0] else ""
        raw = NONE if one.tested.raw is None else signed(one.tested.raw)
        claim, where = one.tested.claim.statement, one.tested.score
        p = number(one.p_value, 2)
        rows.append([claim, where, _claimed(one.tested), _found(one), raw, p, one.verdict, verdict])
    return Table(
        "Claims",
        ["claim", "trained on", "claimed", "found", "raw weights", "p", "verdict", "in all"],
        rows,
        f"p: that the truth is what is claimed, corrected for {plural(len(found), 'test')} (Holm). confirmed: more "
        "than claimed; weakened: an effect in this direction, but not surely of this size; refuted: less than claimed, "
        "and no effect; open: undecided. What holds at equal evaluations alone is arithmetic of cost. "
        f"{OVER_BOTH}{IN_BRACKETS}",
    )


def _key(tested: Tested) -> tuple[int, str]:
    return id(tested.claim), tested.score


def _claimed(one: Tested) -> str:
    claim = one.claim
    if claim.kind == "speed":
        factor = f"{number(one.claimed, 3)} times " if one.claimed != 1 else ""
        return f"{factor}fewer {AXES[one.axis]}"
    size = f" by {number(one.claimed, 3)}" if one.claimed else ""
    where = "at equal training score within equal" if claim.kind == "equal_score" else "at equal"
    return f"{metric_name(claim.metric)} of {claim.cell} above {claim.against}{size}, {where} {AXES[one.mark]}"


def _found(one: Finding) -> str:
    effect = one.tested.effect
    if effect.without_level:
        return (
            f"{effect.without_level} of {plural(effect.estimate.n, 'pair')} have no level above the noise of the start"
        )
    return ratio(effect.estimate) if one.tested.claim.kind == "speed" else signed(effect.estimate)
