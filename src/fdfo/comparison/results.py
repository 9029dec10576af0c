"""What every run measured, one JSON line each: all that pages are made from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdfo.comparison.cells import SCORED, Length, Run, Stage
from fdfo.comparison.counting import EpochCost
from fdfo.comparison.plan import TRAINING_SCORE
from fdfo.comparison.prices import Rates
from fdfo.config.load import reward_entries
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.record import RunRecord, read_run
from fdfo.evaluation.runs import read_evaluations
from fdfo.files import finite, write_atomically
from fdfo.own import mend_lines, sound_lines

SHOWN_CHANGES = 8
"""Differences between a plan and its results that are told."""

DIGITS = 4
"""Significant digits of what is kept of every prompt."""

UNJUDGED = ("velocity_rms",)
"""Signals of an evaluation that no table shows, of which no prompt's value is kept."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluation, and what training had cost until then."""

    epoch: int
    steps: int
    """Optimizer steps."""
    images: int
    """Scored for training."""
    forwards: int
    """Rows through the network without gradient."""
    trained: int
    """Rows through the network with gradient."""
    differentiated: int
    """Images decoded and scored with gradient."""
    evaluations: float
    """Network evaluations: all of these at their prices."""
    seconds: float
    """Of training, evaluation not counted: of the processor where there is no other device, which other work on the
    machine does not change."""
    values: Mapping[str, float]
    """Mean over the held-out prompts of every score, signal and the diversity, of the averaged weights if there are."""
    raw: Mapping[str, float] = field(default_factory=dict)
    """The same of the trained weights themselves, where `values` is of their average."""
    prompts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What `values` are means of: one number a prompt. Kept of final runs."""
    raw_prompts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What `raw` are means of, kept at the budget and at the steps."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one run."""

    stage: Stage
    score: str
    cell: str
    seed: int
    swept: Mapping[str, Any]
    """The swept settings of this run."""
    recipe: str
    settings: Mapping[str, Any]
    """All that was changed of the recipe."""
    prices: Mapping[str, float]
    """Prices, in rows forward, of a row with gradient and of a differentiated image."""
    budget_epoch: int
    """Where the budget of evaluations is spent."""
    steps_epoch: int
    """Where the plan's optimizer steps are taken."""
    steps: int = 0
    """Optimizer steps of the whole run."""
    evaluations: float = 0.0
    """Network evaluations of the whole run."""
    images: int = 0
    """Scored for training in the whole run."""
    seconds: float = 0.0
    """Seconds of training in the whole run, counted as for a point."""
    error: str | None = None
    """Why there is no curve."""
    curve: Sequence[Point] = ()
    alarms: Sequence[str] = ()
    """Names of those that the last evaluation raised."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the run on the clock, by phase; with its evaluations."""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """The run that this is about."""
        return Run(self.stage, self.score, self.cell, tuple(self.swept.items()), self.seed)

    @property
    def is_sound(self) -> bool:
        """Whether the run came to its end."""
        return self.error is None


def planned(
    run: Run, recipe: str, settings: Mapping[str, Any], length: Length | None = None, rates: Rates | None = None
) -> Result:
    """The result of a run before anything is measured; the untrained model has no length and no prices."""
    return Result(
        stage=run.stage,
        score=run.score,
        cell=run.cell,
        seed=run.seed,
        swept=dict(run.setting),
        recipe=recipe,
        settings=settings,
        prices={} if rates is None else asdict(rates),
        budget_epoch=0 if length is None else length.spent,
        steps_epoch=0 if length is None else length.stepped,
    )


def measured(one: Result, cost: EpochCost | None, rates: Rates | None, folder: Path) -> Result:
    """The result of a run that came to its end in this folder. Raises CheckpointError."""
    record = read_run(folder)
    if not record.evaluations or record.evaluations[-1].epoch < record.epochs_planned:
        raise CheckpointError(f"{folder}: the run has not come to its end")
    phases: dict[str, float] = {}
    for event in [*record.rollouts, *record.logged.values()]:
        for name, seconds in event["seconds"].items():
            phases[name] = phases.get(name, 0.0) + seconds
    last = record.evaluations[-1].epoch
    curve = _curve(one, record, cost or EpochCost(0, 0, 0), rates or Rates(0.0, 0.0))
    end = curve[-1]
    return replace(
        one,
        steps=end.steps,
        evaluations=end.evaluations,
        images=end.images,
        seconds=end.seconds,
        curve=curve,
        alarms=[alarm.name for alarm in record.alarms if alarm.epoch == last],
        phases={name: round(seconds, 2) for name, seconds in phases.items() if seconds > 0},
        environment=record.environment,
    )


def _curve(one: Result, record: RunRecord, cost: EpochCost, rates: Rates) -> list[Point]:
    raws = {evaluation.epoch: evaluation for evaluation in read_evaluations(record.folder, raw=True)}
    has_prompts = one.stage != "tuning"
    points = []
    for judged in record.evaluations:
        epoch, raw = judged.epoch, raws.get(judged.epoch)
        before = [rollout for rollout in record.rollouts if rollout["epoch"] <= epoch]
        total = before[-1]["total"] if before else {"images": 0, "forwards": 0, "trained": 0}
        spent = EpochCost(**total, differentiated=epoch * cost.differentiated)
        is_mark = epoch in (one.budget_epoch, one.steps_epoch)
        points.append(
            Point(
                epoch=epoch,
                steps=sum(update["epoch"] <= epoch and not update["skipped"] for update in record.updates),
                **asdict(spent),
                evaluations=round(rates.evaluations(spent), 1),
                seconds=round(sum(_seconds(rollout, record.environment) for rollout in before), 2),
                values=_means(judged),
                raw={} if raw is None else _means(raw),
                prompts=_prompts(judged) if has_prompts else {},
                raw_prompts=_prompts(raw) if has_prompts and is_mark and raw is not None else {},
            )
        )
    return points


def _seconds(rollout: Mapping[str, Any], environment: Mapping[str, Any]) -> float:
    """Seconds of an epoch of training."""
    return rollout["processor_s"] if environment["devices"] == ["cpu"] else sum(rollout["seconds"].values())


def _means(judged: Evaluation) -> dict[str, float]:
    return {name: round(float(judged.interval(name).mean), 6) for name in (*judged.metrics, *judged.signals)}


def _prompts(judged: Evaluation) -> dict[str, list[float]]:
    """Values of every prompt; a score that is the whole training score is left out."""
    names = [name for name in (*judged.metrics, *judged.signals) if name not in UNJUDGED]
    values = {name: [float(f"{value:.{DIGITS}g}") for value in judged.values(name)] for name in names}
    trained = values[TRAINING_SCORE]
    return {name: own for name, own in values.items() if name == TRAINING_SCORE or own != trained}


class Results:
    """The results of a plan, in a file of JSON lines."""

    def __init__(self, path: Path):
        self.path = path
        self.found: dict[Run, Result] = {}
        self.read()

    def read(self) -> None:
        """Take in what the file holds now; the run of a damaged line has no result."""
        self.found = {result.run: result for result in sound_lines(self.path, _parsed)}

    def read_mended(self) -> None:
        """As `read`, by the only one who writes the file now: damaged lines are taken out of it."""
        mend_lines(self.path, _parsed)
        self.read()

    def keep(self, result: Result) -> None:
        """Add a result, or put it in the place of an older one of the same run, and write the file."""
        self.found[result.run] = result
        lines = [json.dumps(finite(_sorted(asdict(one))), ensure_ascii=False, allow_nan=False) for one in self.ordered]
        write_atomically(self.path, "\n".join(lines) + "\n")

    @property
    def ordered(self) -> list[Result]:
        """All results, in an order that does not depend on which run was finished first."""
        return sorted(self.found.values(), key=lambda one: (one.stage, one.score, one.cell, str(one.swept), one.seed))

    def is_done(self, run: Run) -> bool:
        """Whether a run came to its end; one that failed is tried again."""
        return run in self.found and self.found[run].is_sound

    def refuse_changed(self, known: Mapping[Run, tuple[str, Mapping[str, Any]]]) -> None:
        """Raise ConfigError where results are of other runs than the plan's, given its recipe and settings of each."""
        problems = []
        for run, result in self.found.items():
            if run not in known:
                problems.append(
                    f"{run}: has a result and is not in the plan; no result is dropped: keep it in the plan"
                )
                continue
            recipe, settings = known[run]
            old = _comparable({"recipe": result.recipe, **result.settings})
            new = _comparable({"recipe": recipe, **settings})
            changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            problems += [f"{run}: {key} was {old.get(key)!r}, and is {new.get(key)!r} now" for key in changed]
        if problems:
            advice = "go back to the plan that was run, or give the changed one another name or --output"
            raise ConfigError(f"{self.path}: results of another plan", problems, advice=advice, most=SHOWN_CHANGES)


def _parsed(content: dict[str, Any]) -> Result:
    result = Result(**{**content, "curve": [_parsed_point(one) for one in content["curve"]]})
    hash(result.run)  # raises for what is none
    return result


def _parsed_point(content: dict[str, Any]) -> Point:
    means = {name: {key: _number(value) for key, value in content[name].items()} for name in ("values", "raw")}
    prompts = {
        name: {key: [_number(value) for value in values] for key, values in content[name].items()}
        for name in ("prompts", "raw_prompts")
    }
    return Point(**{**content, **means, **prompts})


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a JSON file, and scores with all of their fields, however they are written."""
    scores = {key: reward_entries(settings[key], key) for key in SCORED if key in settings}
    full = {key: [entry.model_dump(mode="json") for entry in entries] for key, entries in scores.items()}
    return {**json.loads(json.dumps(settings)), **full}


def _sorted(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, so that the same run is the same line."""
    return {**content, "settings": dict(sorted(content["settings"].items()))}


def sound(results: Iterable[Result], stage: Stage, score: str, cell: str) -> list[Result]:
    """Results of a cell that came to their end, in order of seed."""
    own = [one for one in results if (one.stage, one.score, one.cell) == (stage, score, cell) and one.is_sound]
    return sorted((one for one in own if one.curve), key=lambda one: one.seed)
