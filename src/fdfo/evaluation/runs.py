"""Reading run folders; nothing here writes."""

import json
from pathlib import Path
from typing import Any

import yaml

from fdfo.config.load import from_mapping
from fdfo.config.tree import Config
from fdfo.errors import CheckpointError
from fdfo.evaluation.heldout import Evaluation

CONFIG, METRICS, ENVIRONMENT = "config.yaml", "metrics.jsonl", "environment.json"
EVALUATIONS = "evaluations"
RAW = "raw"
"""Folder below the evaluations, with those of the trained weights where their average is judged as well."""


def load_run_config(run: Path) -> Config:
    """The resolved configuration of a run folder, whose scores need not exist here.

    Raises ConfigError or CheckpointError.
    """
    path = run / CONFIG
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{run} is not a run folder: cannot read {CONFIG} ({error})") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{run} is not a run folder: {CONFIG} holds no configuration")
    return from_mapping(raw, str(path), check_machine=False)


def read_events(run: Path) -> list[dict[str, Any]]:
    """All complete lines of metrics.jsonl; a line torn by a kill is left out."""
    path = run / METRICS
    events = []
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else []:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def read_evaluations(run: Path, *, raw: bool = False) -> list[Evaluation]:
    """All evaluations of a run, in order of epoch; `raw`: those of the trained weights beside their average."""
    folder = run / EVALUATIONS / RAW if raw else run / EVALUATIONS
    return [Evaluation.read(path) for path in sorted(folder.glob("epoch-*.json"))]


def read_environment(run: Path) -> dict[str, Any]:
    """Versions and devices of the run's latest start; empty where the file is missing."""
    path = run / ENVIRONMENT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
