"""What a run folder holds, read once; nothing here judges or formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from fdfo.config.run_folder import CONFIG
from fdfo.config.scores import distinct
from fdfo.documents import parse_yaml
from fdfo.errors import CheckpointError
from fdfo.evaluation.alarms import Alarm
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.text import number
from fdfo.evaluation.runs import named_checkpoint, read_environment, read_evaluations, read_events
from fdfo.evaluation.statistics import Interval
from fdfo.own import reason

Role = Literal["trained", "part", "unseen"]
"""trained: what the run maximises; part: a component of it; unseen: not trained on."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """A held-out score."""

    key: str
    """Its name in the evaluations of its run."""
    label: str
    """What it is; the same score has the same label in every run."""
    role: Role


@dataclass(frozen=True)
class RunRecord:
    """One run folder."""

    folder: Path
    label: str
    """Short name, unique among the runs of a report."""
    config: Mapping[str, Any]
    """The parsed config.yaml: a report needs neither the plug-ins nor the files that it names."""
    config_text: str
    environment: Mapping[str, Any]
    rollouts: list[Event]
    updates: list[Event]
    logged: Mapping[int, Event]
    """Evaluation events by epoch."""
    alarms: list[Alarm]
    evaluations: list[Evaluation]
    checkpoints: Mapping[str, str]
    """`latest` and `best`, where they exist."""
    damaged: list[str] = field(default_factory=list)
    """Its files that cannot be read, whole or in part, with the reason; more come while pictures are read."""

    def complain(self, path: Path, why: str) -> None:
        """Note a damaged file."""
        self.damaged.append(_noted(self.folder, path, why))

    @property
    def epochs_done(self) -> int:
        return int(self.rollouts[-1]["epoch"]) if self.rollouts else 0

    @property
    def epochs_planned(self) -> int:
        return int(self.config["train"]["epochs"])

    @property
    def noise_seed(self) -> int:
        """Of the start noises of its evaluations."""
        return int(self.config["eval"].get("noise_seed", 0))  # older runs do not name it

    @property
    def rewards(self) -> list[tuple[str, float]]:
        """Name and weight of every component of the trained reward; as in the evaluations."""
        entries = self.config["reward"]
        weights = [float(entry.get("weight", 1.0)) for entry in entries]
        return list(zip(distinct([title_of(entry) for entry in entries]), weights, strict=True))

    @property
    def is_sum(self) -> bool:
        """False where the trained reward is one score as it is."""
        return _is_sum(self.rewards)

    @property
    def formula(self) -> str:
        """The trained reward in words: `a`, or `1 × a + 0.5 × b`."""
        return _formula(self.rewards)

    @cached_property
    def scores(self) -> list[Score]:
        """The evaluated scores: the trained one, its parts where it has any, the unseen ones.

        Of the trained one what an evaluation asks: people are asked during training alone.
        """
        names = list(self.evaluations[-1].scores) if self.evaluations else []
        parts = [(name, weight) for name, weight in self.rewards if name in names]
        trained = [Score("reward", _formula(parts), "trained")] if "reward" in names else []
        components = [Score(name, name, "part") for name, _ in parts if _is_sum(parts)]
        known = {"reward", *dict(parts)}
        return trained + components + [Score(name, name, "unseen") for name in names if name not in known]

    @cached_property
    def best_epoch(self) -> int | None:
        """Epoch of the evaluation with the highest value of what the run selects by."""
        stop = self.config.get("eval", {}).get("stop_when") or {}
        name = stop.get("metric", "reward")
        if name == "reward" and any(entry.get("standardize") for entry in self.config["reward"]):
            chosen = self.checkpoints.get("best")  # by what standardisation knows, which only the run has
            return int(chosen.rpartition("-")[2]) if chosen else None
        means = {past.epoch: self.interval(past, name).mean for past in self.evaluations if name in past.scores}
        finite = {epoch: mean for epoch, mean in means.items() if mean == mean}
        return max(finite, key=lambda epoch: finite[epoch]) if finite else None

    def interval(self, evaluation: Evaluation, name: str) -> Interval:
        """Mean of a score over prompts: as logged, else computed."""
        logged = self.logged.get(evaluation.epoch, {}).get("scores", {}).get(name)
        if logged is None:
            return evaluation.interval(name)
        mean, low, high = (float("nan") if logged[key] is None else logged[key] for key in ("mean", "low", "high"))
        return Interval(mean, low, high, int(np.isfinite(evaluation.values(name)).sum()))


def _is_sum(parts: Sequence[tuple[str, float]]) -> bool:
    return len(parts) > 1 or parts[0][1] != 1


def _formula(parts: Sequence[tuple[str, float]]) -> str:
    """Of names and weights."""
    return " + ".join(f"{number(weight)} × {name}" for name, weight in parts) if _is_sum(parts) else parts[0][0]


def _noted(folder: Path, path: Path, why: str) -> str:
    return f"{path.relative_to(folder)} ({why})"


class _Named(BaseModel):
    name: str
    label: str | None = None


class _Adapter(BaseModel):
    kind: str
    rank: int


class _Model(BaseModel):
    name: str
    adapter: _Adapter


class _Prompts(BaseModel):
    path: str | None
    name: str | None
    eval_path: str | None
    eval_name: str | None
    pairs_per_epoch: int


class _Optim(BaseModel):
    lr: float


class _Train(BaseModel):
    epochs: int
    seed: int


class _Held(BaseModel):
    prompts: int


class _Shown(BaseModel):
    """What a report reads of a configuration, which may be of another version."""

    method: _Named
    policy: _Model
    reward: list[_Named]
    prompts: _Prompts
    optim: _Optim
    train: _Train
    eval: _Held


def title_of(entry: Mapping[str, Any]) -> str:
    """The name of a score, as it is written in a run's configuration."""
    return entry.get("label") or entry["name"]


def read_run(folder: Path, label: str | None = None) -> RunRecord:
    """Everything a report shows of a run. Raises CheckpointError where the folder is not one."""
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
        config = parse_yaml(text)
        _Shown.model_validate(config)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a run folder: cannot read {CONFIG} ({reason(error)})") from error
    damaged: list[str] = []

    def complain(path: Path, why: str) -> None:
        damaged.append(_noted(folder, path, why))

    events = read_events(folder, complain)
    return RunRecord(
        folder=folder,
        label=label or folder.resolve().name,
        config=config,
        config_text=text,
        environment=read_environment(folder, complain),
        rollouts=list({event["epoch"]: event for event in events if event["event"] == "rollout"}.values()),
        updates=[event for event in events if event["event"] == "update"],
        logged={event["epoch"]: event for event in events if event["event"] == "evaluation"},
        alarms=[
            Alarm(event["epoch"], event["name"], event["message"])
            for event in events
            if event["event"] in ("alarm", "training_alarm")
        ],
        evaluations=read_evaluations(folder, complain),
        checkpoints={which: name for which in ("best", "latest") if (name := named_checkpoint(folder, which))},
        damaged=damaged,
    )


def read_runs(folders: list[Path]) -> list[RunRecord]:
    """All runs, with labels that tell them apart."""
    names = [folder.resolve().name for folder in folders]
    labels = [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]
    return [read_run(folder, label) for folder, label in zip(folders, labels, strict=True)]
