"""What every run measured, one JSON line each: all that pages are made from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdfo.comparison.cells import SCORED, Run, Stage
from fdfo.config.load import reward_entries
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.report.record import RunRecord, read_run
from fdfo.files import finite, json_lines, write_atomically

SHOWN_CHANGES = 8
"""Differences between a plan and its results that are told."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluation, and what training had cost until then."""

    epoch: int
    images: int
    forwards: int
    trained: int
    seconds: float
    """Of training; evaluation not counted."""
    values: Mapping[str, float]
    """Mean over the held-out prompts of every score, signal and the diversity."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one run."""

    stage: Stage
    score: str
    cell: str
    point: int
    seed: int
    swept: Mapping[str, Any]
    """The swept settings of this run."""
    recipe: str
    settings: Mapping[str, Any]
    """All that was changed of the recipe."""
    trained_cost: float
    """Of a row forward and backward, in rows forward."""
    error: str | None = None
    """Why there is no curve."""
    curve: Sequence[Point] = ()
    alarms: Sequence[str] = ()
    """Names of those that the last evaluation raised."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of the run, by phase; with its evaluations."""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """The run that this is about."""
        return Run(self.stage, self.score, self.cell, self.point, self.seed)

    @property
    def is_sound(self) -> bool:
        """Whether the run came to its end."""
        return self.error is None


def measured(planned: Result, folder: Path) -> Result:
    """The result of a run that came to its end in this folder. Raises CheckpointError."""
    record = read_run(folder)
    if not record.evaluations or record.evaluations[-1].epoch < record.epochs_planned:
        raise CheckpointError(f"{folder}: the run has not come to its end")
    phases: dict[str, float] = {}
    for event in [*record.rollouts, *record.logged.values()]:
        for name, seconds in event["seconds"].items():
            phases[name] = phases.get(name, 0.0) + seconds
    last = record.evaluations[-1].epoch
    return replace(
        planned,
        curve=_curve(record),
        alarms=[alarm.name for alarm in record.alarms if alarm.epoch == last],
        seconds={name: round(seconds, 2) for name, seconds in phases.items() if seconds > 0},
        environment=record.environment,
    )


def _curve(record: RunRecord) -> list[Point]:
    points = []
    for epoch, event in record.logged.items():
        before = [rollout for rollout in record.rollouts if rollout["epoch"] <= epoch]
        cost = before[-1]["total"] if before else {"images": 0, "forwards": 0, "trained": 0}
        values = {name: interval["mean"] for name, interval in {**event["scores"], **event["signals"]}.items()}
        points.append(
            Point(
                epoch=epoch,
                **cost,
                seconds=round(sum(sum(rollout["seconds"].values()) for rollout in before), 2),
                values={name: round(_number(value), 6) for name, value in values.items()},
            )
        )
    return points


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


class Results:
    """The results of a plan, in a file of JSON lines."""

    def __init__(self, path: Path):
        self.path = path
        self.found: dict[Run, Result] = {}
        self.read()

    def read(self) -> None:
        """Take in what the file holds now."""
        results = [_parsed(content) for content in json_lines(self.path)] if self.path.is_file() else []
        self.found = {result.run: result for result in results}

    def keep(self, result: Result) -> None:
        """Add a result, or put it in the place of an older one of the same run, and write the file."""
        self.found[result.run] = result
        lines = [json.dumps(finite(_sorted(asdict(one))), ensure_ascii=False, allow_nan=False) for one in self.ordered]
        write_atomically(self.path, "\n".join(lines) + "\n")

    @property
    def ordered(self) -> list[Result]:
        """All results, in an order that does not depend on which run was finished first."""
        return sorted(self.found.values(), key=lambda one: (one.stage, one.score, one.cell, one.point, one.seed))

    def is_done(self, run: Run) -> bool:
        """Whether a run came to its end; one that failed is tried again."""
        return run in self.found and self.found[run].is_sound

    def refuse_changed(self, planned: Mapping[Run, tuple[str, Mapping[str, Any]]]) -> None:
        """Raise ConfigError where the results are of other runs than those that are planned (recipe, settings)."""
        problems = []
        for run, result in self.found.items():
            if run not in planned:
                problems.append(
                    f"{run}: has a result and is not in the plan; no result is dropped: keep it in the plan"
                )
                continue
            recipe, settings = planned[run]
            old = _comparable({"recipe": result.recipe, **result.settings})
            new = _comparable({"recipe": recipe, **settings})
            changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            problems += [f"{run}: {key} was {old.get(key)!r}, and is {new.get(key)!r} now" for key in changed]
        if problems:
            hidden = len(problems) - SHOWN_CHANGES
            problems = [*problems[:SHOWN_CHANGES], *([f"and {hidden} more like these"] if hidden > 0 else [])]
            problems.append("go back to the plan that was run, or give the changed one another name or --output")
            raise ConfigError(f"{self.path}: results of another plan", problems)


def _parsed(content: dict[str, Any]) -> Result:
    points = content.pop("curve")
    curve = [Point(**{**one, "values": {name: _number(v) for name, v in one["values"].items()}}) for one in points]
    return Result(**content, curve=curve)


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a JSON file, and scores with all of their fields, however they are written."""
    scores = {key: reward_entries(settings[key], key) for key in SCORED if key in settings}
    full = {key: [entry.model_dump(mode="json") for entry in entries] for key, entries in scores.items()}
    return {**json.loads(json.dumps(settings)), **full}


def _sorted(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, so that the same run is the same line."""
    return {**content, "settings": dict(sorted(content["settings"].items()))}


def sound(results: Iterable[Result], stage: Stage, score: str, cell: str) -> list[Result]:
    """Results of a cell that came to their end, in order of setting and seed."""
    return [
        one
        for one in results
        if (one.stage, one.score, one.cell) == (stage, score, cell) and one.is_sound and one.curve
    ]
