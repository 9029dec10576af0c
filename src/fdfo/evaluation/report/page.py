"""From run folders to one HTML file that loads nothing: views into templates."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fdfo import look, words
from fdfo.errors import CheckpointError
from fdfo.evaluation.alarms import DIVERSITY_FLOOR, SHARPNESS_RANGE, VELOCITY_CEILING
from fdfo.evaluation.report import costs, curves, decimals, gallery, groups, results, setup, text, tradeoffs
from fdfo.evaluation.report.chart import placed, widest
from fdfo.evaluation.report.record import RunRecord, read_runs
from fdfo.evaluation.runs import REPORT
from fdfo.files import write_atomically
from fdfo.visible import visible

FILTERS = {
    "number": text.number,
    "signed": lambda value, places: text.fixed(value, places, signed=True),
    "bounds": lambda interval, places: text.bounds(interval, signed=True, places=places),
    "count": words.count,
    "widest": widest,
    "plural": words.plural,
    "duration": text.duration,
    "share": text.percent,
    "one_line": text.one_line,
    "unbroken": text.unbroken,
    "lower_first": text.lower_first,
    "words": text.enumerate_words,
    "interval": text.with_bounds,
    "placed": placed,
    "zipped": lambda first, second: list(zip(first, second, strict=True)),
}


@dataclass(frozen=True)
class AlarmView:
    """An alarm of a run, over all evaluations that raised it."""

    name: str
    message: str
    epochs: list[int]
    is_current: bool
    """Raised by the latest evaluation."""


@dataclass(frozen=True)
class RunView:
    """One run, ready to print."""

    record: RunRecord
    color: int
    """Number of its colour and dash among several runs."""
    results: results.Results | None
    result_seconds: float
    """Time that the latest evaluated weights took."""
    costs: costs.Costs
    alarms: list[AlarmView]
    facts: list[setup.Fact]
    environment: list[setup.Fact]
    commands: list[setup.Fact]


def write_report(runs: Sequence[Path], output: Path | None = None) -> Path:
    """Write the report of one run, or of several side by side, and return its path.

    output defaults to report.html in the folder of a single run, in the current folder for several. The same folders
    give the same bytes. Raises CheckpointError where a folder is not a run or the file cannot be written.
    """
    assert runs
    records = read_runs(list(runs))
    default = records[0].folder / REPORT if len(records) == 1 else Path(REPORT)
    path = output or default
    try:
        write_atomically(path, render(records))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}; give another output file") from error
    return path


def render(records: Sequence[RunRecord]) -> str:
    """The page as text."""
    places = decimals.of_runs(records)
    values = {**overview(records, places), "gallery": gallery.gallery(records, places)}
    if len(records) == 1:
        parts = {"curves": curves.curves(records, places), "group_epochs": groups.groups(records[0], places)}
        parts["trade_offs"] = tradeoffs.trade_offs(records[0], places)
        return fill("run.html", {**values, **parts, "run": values["runs"][0]})
    return fill("comparison.html", {**values, **side_by_side(records, places)})


def overview(records: Sequence[RunRecord], places: decimals.Decimals) -> dict[str, Any]:
    """What every page of runs tells of them, without curves and pictures."""
    return {
        "runs": [_view(record, index, places) for index, record in enumerate(records)],
        "diversity_floor": DIVERSITY_FLOOR,
        "velocity_ceiling": VELOCITY_CEILING,
        "sharpness_range": SHARPNESS_RANGE,
    }


def side_by_side(records: Sequence[RunRecord], places: decimals.Decimals) -> dict[str, Any]:
    """What is told of several runs together."""
    return {
        "axes": [curves.curves(records, places, axis) for axis in ("epoch", "images", "time")],
        "rows": _comparison(records, places),
        "differences": setup.differences(records),
    }


def _view(record: RunRecord, index: int, places: decimals.Decimals) -> RunView:
    judged = record.evaluations[-1].epoch if record.evaluations else record.epochs_done
    return RunView(
        record=record,
        color=curves.color_of_run(index),
        result_seconds=costs.seconds_until(record, judged),
        results=results.results(record, places),
        costs=costs.costs(record),
        alarms=_alarms(record),
        facts=setup.facts(record),
        environment=setup.environment(record),
        commands=setup.commands(record),
    )


def _alarms(record: RunRecord) -> list[AlarmView]:
    """Alarms by name, with the latest message of each; those of the latest evaluation first."""
    latest = record.evaluations[-1].epoch if record.evaluations else -1
    by_name: dict[str, list[tuple[int, str]]] = {}
    for alarm in record.alarms:
        by_name.setdefault(alarm.name, []).append((alarm.epoch, alarm.message))
    views = []
    for name, found in by_name.items():
        epochs = sorted({epoch for epoch, _ in found})
        messages = [message for epoch, message in found if epoch == epochs[-1]]
        views.append(AlarmView(name, "; ".join(messages), epochs, latest in epochs))
    return sorted(views, key=lambda view: not view.is_current)


def _comparison(records: Sequence[RunRecord], places: decimals.Decimals) -> list[dict[str, Any]]:
    """For every score of any run: its change in each run, and each run's difference to the first."""
    rows = []
    for label in dict.fromkeys(label for record in records for label in results.metrics(record)):
        changes = [results.change_of(record, label, places) for record in records]
        pairs = zip(records, changes, strict=True)
        others = [results.against(record, records[0], label) if change else None for record, change in pairs]
        rows.append({"label": label, "changes": changes, "against": [None, *others[1:]]})
    return rows


@cache
def templates(*folders: str) -> Environment:
    """Templates of packages, those of the report last; compiled once: that takes longer than to fill them."""
    loaders = [PackageLoader(package) for package in (*folders, "fdfo.evaluation.report")]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(FILTERS)
    return environment


def style() -> str:
    """The style sheets of the report in one."""
    own = files("fdfo.evaluation.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    return f"{look.style()}\n{own}"


def fill(template: str, values: dict[str, Any]) -> str:
    """A template as one page, with style and script inside."""
    script = look.script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = templates().get_template(template)
    inside = {"style": Markup(style()), "script": Markup(script), "script_digest": digest}
    return visible(page.render(**values, version=version("fdfo"), **inside))
