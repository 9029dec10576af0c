"""Records a run in process 0: events in metrics.jsonl, lines on the console, numbers for trackers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fdfo.evaluation.alarms import Alarm, constant_score, outside_trust_region
from fdfo.evaluation.heldout import Evaluation
from fdfo.training.checkpoint import Progress
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.findings import levels
from fdfo.training.folder import RunFolder
from fdfo.training.phases import peak_memory_gib
from fdfo.training.trackers import Trackers
from fdfo.words import plural

Metrics = Mapping[str, float]


class Journal:
    """The records of one run; `group_size` is its method's, `pairwise` names the trained scores that compare images."""

    def __init__(
        self,
        folder: RunFolder,
        console: Console,
        team: Team,
        group_size: int,
        trackers: Trackers,
        pairwise: Sequence[str],
    ):
        self.pairwise = pairwise
        self.folder, self.console, self.team = folder, console, team
        self.group_size, self.trackers = group_size, trackers
        self.alarmed: set[str] = set()
        """Names of the training alarms of the epoch before."""

    def epoch(
        self,
        progress: Progress,
        scores: Metrics,
        updates: Sequence[Metrics],
        seconds: Metrics,
        warnings: Sequence[str] = (),
    ) -> None:
        """Record an epoch of training: samples, updates, and warnings about choices of people."""
        rollout: dict[str, Any] = {
            **scores,
            "seconds": dict(seconds),
            "total": {"images": progress.images, "forwards": progress.forwards, "trained": progress.trained},
            "peak_memory_gib": peak_memory_gib(self.team.device),
            **asdict(self.team.take_traffic()),
        }
        self.folder.log("rollout", progress.epoch, rollout)
        found = (constant_score(progress.epoch, scores, self.group_size), outside_trust_region(progress.epoch, updates))
        raised = [alarm for alarm in found if alarm is not None]
        raised += [Alarm(progress.epoch, "assistant", text) for text in warnings]
        for alarm in raised:
            self._alarm("training_alarm", alarm, is_told=alarm.name not in self.alarmed)
        self.alarmed = {alarm.name for alarm in raised}
        for index, values in enumerate(updates):
            self.folder.log("update", progress.epoch, {"update": progress.updates - len(updates) + index + 1, **values})
        numbers = {**scores, **updates[-1], **{f"seconds/{name}": value for name, value in seconds.items()}}
        self.trackers.log(numbers, progress.epoch)

    def evaluation(self, evaluation: Evaluation, found: Sequence[Alarm], seconds: Metrics) -> None:
        """Record an evaluation and the alarms that it raised."""
        intervals = {name: evaluation.interval(name) for name in evaluation.metrics}
        values: dict[str, Any] = {
            "scores": {name: asdict(interval) for name, interval in intervals.items()},
            "failed": {name: count for name, count in evaluation.failed.items() if count},
            "signals": {name: asdict(evaluation.interval(name)) for name in evaluation.signals},
            "seconds": dict(seconds),
        }
        self.folder.log("evaluation", evaluation.epoch, values)
        self.console.say_items(f"held-out, epoch {evaluation.epoch}", levels(evaluation, self.pairwise))
        for name, count in values["failed"].items():
            self.console.say(
                f"{name} failed on {count} of {plural(len(evaluation.scores[name]), 'image')}", style="yellow"
            )
        for alarm in found:
            self._alarm("alarm", alarm)
        self.trackers.log({f"held-out/{name}": i.mean for name, i in intervals.items()}, evaluation.epoch)

    def _alarm(self, event: str, alarm: Alarm, is_told: bool = True) -> None:
        self.folder.log(event, alarm.epoch, {"name": alarm.name, "message": alarm.message})
        if is_told:
            self.console.say(f"alarm ({alarm.name}): {alarm.message}", style="bold yellow")
