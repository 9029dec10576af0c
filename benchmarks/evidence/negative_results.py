"""What does not work: `python -m benchmarks.evidence.negative_results [--output docs/results/what-does-not-work.md]`.

Collects from the kept results of all shipped plans what their pages show one by one: claims that were not borne out,
changes that end below what they change, settings that end below the start, and alarms. Nothing is run.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdfo.comparison.curves import MARKS, until
from fdfo.comparison.effects import difference
from fdfo.comparison.outcomes import claims_table
from fdfo.comparison.plan import TRAINING_SCORE, Plan
from fdfo.comparison.reading import load_plan
from fdfo.comparison.results import Result, Results, sound
from fdfo.comparison.tables import Table, mark_text, signed
from fdfo.evaluation.report.text import number


@dataclass(frozen=True)
class Kept:
    """A plan with its results."""

    plan: Plan
    results: Sequence[Result]

    @property
    def link(self) -> str:
        return f"[{self.plan.name}]({self.plan.name}.md)"


def kept_results(plans: Path, data: Path) -> list[Kept]:
    """Those of the shipped plans that have results."""
    shipped = [load_plan([str(path)]) for path in sorted(plans.glob("*.yaml"))]
    found = [Kept(plan, Results(data / f"{plan.name}.jsonl").ordered) for plan in shipped]
    return [one for one in found if one.results]


def unconfirmed(found: Sequence[Kept]) -> Table:
    """Claims that are not confirmed, at equal evaluations or at equal steps."""
    head: list[str] = []
    rows, note = [], ""
    for one in found:
        table = claims_table(one.plan, one.results)
        if table is not None:
            head, note = table.head, table.note
            rows += [[one.link, *row] for row in table.rows if row[head.index("verdict")] != "confirmed"]
    return Table("Claims that were not confirmed", ["plan", *head], rows, note)


def worse(found: Sequence[Kept]) -> Table:
    """Cells whose training score ends below that of their reference, with all of the interval."""
    rows = []
    for one in found:
        reference = one.plan.reference_cell
        for score, cell in _scored_cells(one.plan):
            for mark in MARKS:
                ours, theirs = (until(sound(one.results, "final", score, name), mark) for name in (cell, reference))
                gap = difference(ours, theirs, TRAINING_SCORE)
                if cell != reference and gap.has_interval and gap.high < 0:
                    where = mark_text(one.plan, one.results, mark)
                    rows.append([one.link, cell, reference, score, where, signed(gap)])
    return Table(
        "Ends below its reference",
        ["plan", "cell", "reference", "trained on", "at", "difference of the training score"],
        rows,
        "Each at its own best setting; intervals over seeds and prompts, paired by seed, not corrected for number.",
    )


def harmful(found: Sequence[Kept]) -> Table:
    """Settings whose training score ends below the start, in tuning."""
    rows = []
    for one in found:
        for result in one.results:
            if result.stage == "tuning" and result.is_sound:
                first, last = (point.values[TRAINING_SCORE] for point in (result.curve[0], result.curve[-1]))
                if last >= first:
                    continue
                ends = [number(value, 3) for value in (first, last)]
                swept = ", ".join(f"{key}={value}" for key, value in result.swept.items()) or "as it is"
                rows.append([one.link, result.cell, result.score, swept, str(result.seed), *ends])
    return Table(
        "Settings that end below the start",
        ["plan", "cell", "trained on", "setting", "seed", "before", "after"],
        rows,
        "Tuning runs on validation prompts.",
    )


def alarmed(found: Sequence[Kept]) -> Table:
    """Final runs whose last evaluation raised an alarm."""
    rows = []
    for one in found:
        for score, cell in _scored_cells(one.plan):
            own = sound(one.results, "final", score, cell)
            names = [name for result in own for name in result.alarms]
            counts = ", ".join(f"{name} in {names.count(name)} of {len(own)}" for name in sorted(set(names)))
            if counts:
                rows.append([one.link, cell, score, counts])
    return Table(
        "Alarms at the end",
        ["plan", "cell", "trained on", "alarm"],
        rows,
        "Rules: [docs/design.md](../design.md#alarms).",
    )


def _scored_cells(plan: Plan) -> Iterator[tuple[str, str]]:
    return ((score, cell) for cell in plan.cells for score in plan.scores_of(cell))


def page(found: Sequence[Kept]) -> str:
    """All tables as Markdown."""
    tables = [table for table in (unconfirmed(found), worse(found), harmful(found), alarmed(found)) if table.rows]
    names = ", ".join(one.link for one in found)
    head = (
        "# What does not work\n\nWritten by `python -m benchmarks.evidence.negative_results` from the results of all "
        f"plans on the embedded model: {names}. What holds there need not hold at full size; what fails there is a "
        "warning."
    )
    return "\n\n".join([head, *(f"## {table.title}\n\n{_body(table)}" for table in tables)]) + "\n"


def _body(table: Table) -> str:
    """The table without its title."""
    return table.markdown().split("\n", 2)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=Path, default=Path("plans"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/what-does-not-work.md"))
    options = parser.parse_args()
    options.output.write_text(page(kept_results(options.plans, options.output.parent / "data")), encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
