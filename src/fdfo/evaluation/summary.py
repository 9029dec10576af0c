"""What an evaluation found, as rows: means with intervals, and paired differences to the base."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.statistics import Interval, win_rate
from fdfo.visible import on_one_line

BASE = "base"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One score of one set of weights, over all prompts or those of a category."""

    score: str
    category: str | None
    weights: str
    mean: Interval
    gain: Interval | None
    """Paired difference to the base; None for the base itself."""
    wins: float | None
    """Share of prompts that score higher than with the base, ties counted half."""


def summary(results: Mapping[str, Evaluation]) -> list[Row]:
    """Rows of evaluations of the same prompts and seeds, by weights; `base` first."""
    base, last = results[BASE], list(results.values())[-1]
    return [
        _row(base, result, weights, score, category)
        for score in last.different_metrics
        for category in (None, *base.category_names)
        if base.asked_about(score, category)
        for weights, result in results.items()
    ]


def _row(base: Evaluation, result: Evaluation, weights: str, score: str, category: str | None) -> Row:
    is_base = weights == BASE
    return Row(
        score=score,
        category=category,
        weights=weights,
        mean=result.interval(score, category),
        gain=None if is_base else result.gain(base, score, category),
        wins=None if is_base else win_rate(result.values(score, category), base.values(score, category)),
    )


def markdown(rows: Sequence[Row]) -> str:
    """A table; in brackets 95 % bootstrap intervals over prompts."""
    lines = ["| score | weights | prompts | mean | difference to base | wins |", "|---|---|---|---|---|---|"]
    for row in rows:
        name = _cell(row.score if row.category is None else f"{row.score}, {row.category}")
        gain = "" if row.gain is None else row.gain.told("+.4g")
        wins = "" if row.wins is None else f"{row.wins:.0%}"
        lines.append(f"| {name} | {_cell(row.weights)} | {row.mean.n} | {row.mean} | {gain} | {wins} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """As a cell of a table in Markdown holds it."""
    return on_one_line(text).replace("|", r"\|")


def as_csv(rows: Sequence[Row]) -> str:
    """The same numbers, a line for each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["score", "category", "weights", "prompts", "mean", "low", "high", "gain", "gain_low", "gain_high", "wins"]
    writer.writerow(head)
    for row in rows:
        gain = ("", "", "") if row.gain is None else (row.gain.mean, row.gain.low, row.gain.high)
        mean = (row.mean.n, row.mean.mean, row.mean.low, row.mean.high)
        wins = "" if row.wins is None else row.wins
        writer.writerow([row.score, row.category or "", row.weights, *mean, *gain, wins])
    return text.getvalue()
