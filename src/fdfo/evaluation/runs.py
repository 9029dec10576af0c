"""Reading run folders; nothing here writes."""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fdfo.config.run_folder import METRICS
from fdfo.evaluation.events import checked_event
from fdfo.evaluation.heldout import Evaluation
from fdfo.own import Complain, leave_out, numbered, numbered_name, read_json, sound, sound_lines

ENVIRONMENT, REPORT = "environment.json", "report.html"
EVALUATIONS, CHECKPOINTS = "evaluations", "checkpoints"
EPOCH = "epoch"
"""Kind of numbered files and folders: evaluations, pictures, checkpoints."""

KEPT = ".kept"
"""Suffix of an empty file beside a checkpoint's folder, which then stays when older ones are removed."""

RAW = "raw"
"""Folder below the evaluations, with those of the trained weights where their average is judged as well."""


class _Environment(BaseModel):
    """What environment.json must hold where it holds it."""

    model_config = ConfigDict(extra="allow")

    libraries: dict[str, str | None] = {}
    devices: list[str] = []
    prompts: str | None = None
    """How many were read, trained on and held out, in words."""


def read_events(run: Path, complain: Complain = leave_out) -> list[dict[str, Any]]:
    """All sound lines of metrics.jsonl; a last line that a kill cut off does not count."""
    return sound_lines(run / METRICS, checked_event, complain)


def read_evaluations(run: Path, complain: Complain = leave_out, *, raw: bool = False) -> list[Evaluation]:
    """All sound evaluations of a run, in order of epoch; `raw`: those of the trained weights beside their average."""

    def read(path: Path) -> Evaluation:
        evaluation = Evaluation.read(path)
        if path.name != numbered_name(EPOCH, evaluation.epoch, ".json"):
            raise ValueError(f"it is of epoch {evaluation.epoch}")
        return evaluation

    folder = run / EVALUATIONS / RAW if raw else run / EVALUATIONS
    return [
        found
        for path in numbered(folder, EPOCH, ".json").values()
        if (found := sound(path, read, complain)) is not None
    ]


def read_environment(run: Path, complain: Complain = leave_out) -> dict[str, Any]:
    """Versions and devices of the run's latest start; empty where the file is missing or damaged."""

    def read(path: Path) -> dict[str, Any]:
        content = read_json(path)
        _Environment.model_validate(content)
        return content

    path = run / ENVIRONMENT
    return (sound(path, read, complain) if path.exists() else None) or {}


def named_checkpoint(run: Path, which: str) -> str | None:
    """Name of the checkpoint that a run's file `latest` or `best` points at, if there is such a file and name."""
    return pointed_at(run / CHECKPOINTS / which)


def pointed_at(path: Path) -> str | None:
    """The name of a checkpoint in a text file, if it is there and holds one."""
    name = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return name if re.fullmatch(f"{EPOCH}-[0-9]+", name) else None
