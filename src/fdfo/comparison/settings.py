"""Tables of how it was found: what was tried and chosen, what a run cost, what every cell is, and what failed."""

from collections.abc import Sequence

import numpy as np

from fdfo.comparison.cells import Configurations, setting_text
from fdfo.comparison.plan import Plan
from fdfo.comparison.results import Result, sound
from fdfo.comparison.tables import Table, level
from fdfo.comparison.tuning import ends, state
from fdfo.evaluation.report.text import NONE, duration, number


def tuning_table(plan: Plan, results: Sequence[Result], configurations: Configurations) -> Table | None:
    """What was tried in every cell, and chosen."""
    rows = []
    for score in plan.scores:
        for cell in plan.cells_on(score):
            tried = ends(results, score, cell)
            if not tried:
                continue
            found = state(plan, results, score, cell, configurations.allows(score, cell))
            means = {setting: float(np.mean(list(by_seed.values()))) for setting, by_seed in tried.items()}
            others = sorted((mean for setting, mean in means.items() if setting != found.chosen), reverse=True)
            chosen = "not yet" if found.chosen is None else setting_text(found.chosen)
            value = NONE if found.chosen is None else level(means.get(found.chosen))
            edge = f"at the edge: {', '.join(found.edges)}" if found.edges else "inside"
            rows.append([cell, score, chosen, value, str(len(tried)), ", ".join(map(level, others)), edge])
    if not rows:
        return None
    seeds = ", ".join(map(str, plan.tuning_seeds))
    return Table(
        "Chosen settings",
        ["cell", "trained on", "chosen", "training score", "tried", "the others", "where the best lies"],
        rows,
        "Chosen by the training score on validation prompts, the mean of that at equal evaluations and at equal steps, "
        f"over seeds {seeds}, in runs of {plan.tuning_share:.0%} of the length. All cells begin with equally many "
        "settings; a grid is extended where its best lies at an end of a field, at either end of it "
        f"{plan.extensions} times at most. {NONE}: a run failed.",
    )


def budget_table(plan: Plan, results: Sequence[Result]) -> Table:
    """What the runs of every cell cost."""
    rows = []
    for score in plan.scores:
        for cell in plan.cells_on(score):
            own = sound(results, "final", score, cell)
            if not own:
                continue
            end, first = own[0].curve[-1], own[0]
            counts = [end.epoch, end.steps, end.images, end.forwards, end.trained, end.differentiated]
            prices = f"{first.prices['trained']:g}, {first.prices['differentiated']:g}"
            seconds = sum(one.seconds for one in own) / len(own)
            marks = f"{first.budget_epoch}, {first.steps_epoch}"
            texts = [f"{value:,}" for value in counts]
            rows.append(
                [cell, score, *texts, f"{end.evaluations:,.0f}", marks, prices, _measured_price(own), duration(seconds)]
            )
    return Table(
        "What a run costs",
        ["cell", "trained on", "epochs", "steps", "images", "forward", "forward and backward", "differentiated",
         "evaluations", "epochs to the budget, to the steps", "prices", "price of a row, measured", "training time"],
        rows,
        f"A run goes on until it has spent {plan.budget:,.0f} network evaluations, in whole epochs, and has taken the "
        "steps. Prices in rows forward: a row forward and backward, and an image decoded and scored forward and "
        "backward (differentiated). Measured: time of training over time of sampling, for a row each, in these runs. "
        "Training time: of one processor where there is no other device; without evaluation.",
    )  # fmt: skip


def _measured_price(own: Sequence[Result]) -> str:
    """Time of a row forward and backward over that of a row forward, with all that training a row takes."""
    sampling, training = (sum(one.phases.get(name, 0.0) for one in own) for name in ("sample", "train"))
    forwards, trained = (sum(getattr(one.curve[-1], name) for one in own) for name in ("forwards", "trained"))
    return number((training / trained) / (sampling / forwards), 3) if sampling and trained else NONE


def failures_table(results: Sequence[Result]) -> Table | None:
    """Runs that did not come to their end."""
    failed = [[str(one.run), one.error or ""] for one in results if not one.is_sound]
    return Table("Runs that failed", ["run", "why"], failed) if failed else None


def cells_table(plan: Plan) -> Table:
    """What every cell is."""
    rows = []
    for name, cell in plan.cells.items():
        changes = ", ".join(f"{key}={value}" for key, value in cell.changes.items())
        grids = [
            "; ".join(f"{key} in {', '.join(map(str, values))}" for key, values in grid.items())
            for grid in plan.sweep_of(name)
        ]
        one = NONE if cell.one_change_from is None else cell.one_change_from
        differs = ", ".join(cell.differs) or NONE
        rows.append([name, cell.recipe or plan.recipe, changes or NONE, one, differs, ", then ".join(grids) or NONE])
    return Table(
        "Cells",
        ["cell", "recipe", "changes", "one change from", "recipe may differ in", "tried"],
        rows,
        "One change from: the configurations were compared, and differ in one field but for what both sweep; pairs an "
        "epoch may follow where that keeps the images of an epoch.",
    )
