"""The results of `fdfo eval`, in the terminal and in files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdfo.commands.terminal import say
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.ledger import Ledger
from fdfo.evaluation.report import evaluation_page
from fdfo.evaluation.statistics import Interval
from fdfo.evaluation.summary import BASE, Row, as_csv, markdown
from fdfo.files import write_atomically, write_json
from fdfo.visible import on_one_line
from fdfo.words import plural

LONGEST_NAME = 30
"""Characters of a score or category in the terminal, so that the numbers beside it fit."""


def write_evaluation(
    ledger: Ledger, results: Mapping[str, Evaluation], rows: Sequence[Row], facts: Sequence[tuple[str, str]]
) -> None:
    """The page and the tables, into the ledger's folder."""
    folder = ledger.folder
    pictures = {weights: ledger.shown(weights) for weights in results}
    write_atomically(folder / "report.html", evaluation_page(folder.name, results, pictures, facts))
    write_atomically(folder / "scores.csv", ledger.scores_csv(results))
    write_atomically(folder / "summary.csv", as_csv(rows))
    write_atomically(folder / "summary.md", markdown(rows))
    write_json(folder / "summary.json", [asdict(row) for row in rows])


def print_evaluation(rows: Sequence[Row], results: Mapping[str, Evaluation]) -> None:
    """A table for each adapter beside the base, or one for the base alone; then what could not be judged."""
    base, *adapters = results
    prompts, images = len(results[base].prompts), results[base].images_per_prompt
    say(f"{plural(prompts, 'prompt')} x {plural(images, 'image')}, 95 % intervals over prompts")
    for adapter in adapters or [None]:
        table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)  # fits 80 columns
        table.add_column("score", no_wrap=True, overflow="ellipsis", max_width=LONGEST_NAME)
        for column in ("base", adapter, "difference", "wins") if adapter else ("base",):
            table.add_column(_cell(column), justify="right", no_wrap=True)
        by_weights = {(row.score, row.category, row.weights): row for row in rows}
        for row in rows:
            if row.weights != BASE:
                continue
            cells = [row.score if row.category is None else f"  {row.category}", _short(row.mean)]
            if adapter is not None:
                other = by_weights[row.score, row.category, adapter]
                assert other.gain is not None
                cells += [_short(other.mean), other.gain.told("+.3g", "+.2g"), f"{other.wins:.0%}"]
            table.add_row(*map(_cell, cells))
        Console(highlight=False).print(table)
    for weights, result in results.items():
        for score, failed in result.failed.items():
            if failed:
                judged = result.interval(score).n
                told = f"its mean is over {judged} of {plural(prompts, 'prompt')}"
                say(f"{score} failed on {plural(failed, 'image')} of {weights}: {told}")


def _cell(text: str) -> Text:
    """As it is: a name may look like markup."""
    return Text(on_one_line(text))


def _short(interval: Interval) -> str:
    """Mean and half the width of its interval, which one prompt does not have."""
    return f"{interval.mean:.3g}" + (f"±{(interval.high - interval.low) / 2:.1g}" if interval.n > 1 else "")
