"""What a run has cost so far, and what it counted along the way."""

from dataclasses import dataclass

from fdfo.evaluation.report.record import RunRecord

PHASES = {
    "encode": "encode prompts",
    "sample": "sample",
    "decode": "decode",
    "score": "score",
    "train": "train",
    "evaluate": "evaluate",
    "save": "save",
}
"""Logged name and what it is; others keep their name."""


@dataclass(frozen=True)
class Phase:
    """Seconds of one kind of work."""

    label: str
    seconds: float
    share: float
    color: int


@dataclass(frozen=True)
class Costs:
    """Sums over the epochs so far."""

    epochs: int
    seconds: float
    phases: list[Phase]
    images: int
    forwards: int
    trained: int
    peak_memory_gib: float | None
    failed: int
    dropped_groups: int
    updates: int
    skipped: int

    @property
    def includes_evaluation(self) -> bool:
        """True where the seconds of the held-out evaluations were logged."""
        return any(phase.label == PHASES["evaluate"] for phase in self.phases)


def seconds_until(record: RunRecord, epoch: int) -> float:
    """Seconds of training and evaluation up to an epoch, and of the evaluation after it."""
    events = [event for event in [*record.rollouts, *record.logged.values()] if event["epoch"] <= epoch]
    return sum(sum(event.get("seconds", {}).values()) for event in events)


def costs(record: RunRecord) -> Costs:
    """The costs of a run; all zero before its first epoch."""
    seconds = dict.fromkeys(PHASES, 0.0)
    for event in [*record.rollouts, *record.logged.values()]:
        for name, value in event.get("seconds", {}).items():
            seconds[name] = seconds.get(name, 0.0) + value
    total = sum(seconds.values())
    phases = [
        Phase(PHASES.get(name, name), value, value / total, i)
        for i, (name, value) in enumerate(seconds.items())
        if value > 0
    ]
    last = record.rollouts[-1]["total"] if record.rollouts else {}
    memory = [event["peak_memory_gib"] for event in record.rollouts if event.get("peak_memory_gib")]
    return Costs(
        epochs=record.epochs_done,
        seconds=total,
        phases=phases,
        images=int(last.get("images", 0)),
        forwards=int(last.get("forwards", 0)),
        trained=int(last.get("trained", 0)),
        peak_memory_gib=max(memory) if memory else None,
        failed=int(sum(event.get("failed") or 0 for event in record.rollouts)),
        dropped_groups=int(sum(event.get("dropped_groups") or 0 for event in record.rollouts)),
        updates=len(record.updates),
        skipped=int(sum(event.get("skipped") or 0 for event in record.updates)),
    )
