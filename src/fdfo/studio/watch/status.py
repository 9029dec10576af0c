"""How a run is, from its folder alone."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

from fdfo.config.run_folder import METRICS
from fdfo.evaluation.report.record import RunRecord
from fdfo.locks import holder_of

RECENT_EPOCHS = 5
"""From which the time of the next ones is told."""
SILENT_S = 600.0
"""A run of another machine that writes nothing for so long, and for ten epochs' time, is taken as ended."""

State = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class Status:
    """As it is now."""

    state: State
    done: int
    planned: int
    epoch_s: float | None
    """Seconds of an epoch and its share of the evaluations, as the latest ones took."""
    is_here: bool
    """Whether it runs on this machine, where it can be stopped."""

    @property
    def left_s(self) -> float | None:
        """Seconds to the end."""
        return None if self.epoch_s is None or self.state != "running" else self.epoch_s * (self.planned - self.done)


def status_of(record: RunRecord) -> Status:
    """Of a run that was read."""
    holder = holder_of(record.folder)
    epoch_s = _epoch_s(record)
    if holder is None:
        is_running = False
    elif holder.is_here:
        is_running = holder.is_alive
    else:
        is_running = _silence(record.folder) < max(SILENT_S, 10 * (epoch_s or 0))
    is_done = record.epochs_done >= record.epochs_planned
    state: State = "running" if is_running else "finished" if is_done else "stopped"
    return Status(
        state=state,
        done=record.epochs_done,
        planned=record.epochs_planned,
        epoch_s=epoch_s,
        is_here=holder is not None and holder.is_here and is_running,
    )


def _epoch_s(record: RunRecord) -> float | None:
    if not record.rollouts:
        return None
    epochs = mean(sum(event.get("seconds", {}).values()) for event in record.rollouts[-RECENT_EPOCHS:])
    judged = sum(sum(event.get("seconds", {}).values()) for event in record.logged.values())
    return epochs + judged / record.epochs_done


def _silence(folder: Path) -> float:
    """Seconds since the last event."""
    try:
        return time.time() - (folder / METRICS).stat().st_mtime
    except OSError:
        return float("inf")
