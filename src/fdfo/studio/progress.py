"""How far a run is, from its folder."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fdfo.config.run_folder import METRICS, load_run_config
from fdfo.evaluation.runs import read_events

WAITED = "score"
"""The phase of an epoch in which the run waits for people."""


@dataclass(frozen=True)
class Progress:
    """Of one run."""

    epoch: int
    """Epochs finished."""
    epochs: int
    training_s: float | None
    """Seconds that people wait from one round to the next, as the last time; None before the first."""

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self.epochs


def progress_of(run: Path) -> Progress:
    """As it is now. Raises ConfigError or CheckpointError for a folder that is no run."""
    return _read(run, stamp(run / METRICS), stamp(run / "config.yaml"))


def stamp(path: Path) -> tuple[int, int] | None:
    """Another one after every change of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=16)
def _read(run: Path, metrics: object, config: object) -> Progress:
    finished = [event for event in read_events(run) if event["event"] == "rollout"]
    latest: dict[str, Any] = finished[-1] if finished else {"epoch": 0}
    seconds = latest.get("seconds", {})
    waiting = sum(seconds.values()) - seconds.get(WAITED, 0.0) if seconds else None
    return Progress(latest["epoch"], load_run_config(run).train.epochs, waiting)
