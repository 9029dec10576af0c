"""A whole run: epochs, evaluations, checkpoints, and the way back into an interrupted one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from fdfo.config.tree import Config
from fdfo.errors import FdfoError
from fdfo.evaluation.alarms import Alarm, alarms
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import save_gallery, save_groups
from fdfo.evaluation.report import write_report
from fdfo.evaluation.runs import read_evaluations
from fdfo.files import write_atomically
from fdfo.flow.noise import NoiseStreams
from fdfo.models.load import check_policy
from fdfo.training.batching import share
from fdfo.training.checkpoint import (
    Progress,
    State,
    load_latest,
    optimizer_tensors,
    prune,
    restore_optimizer,
    save_checkpoint,
)
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.epoch import Sampled, sample, update
from fdfo.training.folder import RunFolder
from fdfo.training.interrupt import Interrupted, StopRequest, stop_on_signals
from fdfo.training.judging import build_jury
from fdfo.training.phases import peak_memory_gib
from fdfo.training.setup import blank_lines, build_trainer, held_out_prompts, run_folder, training_prompts

SHOWN_GROUPS = 8
"""Training groups whose pictures are kept at each evaluation."""


def train(config: Config, run_dir: str | Path | None = None) -> Path:
    """Train as configured and return the run folder; repeating the call with the same folder continues the run.

    run_dir defaults to a new numbered folder below `runs/`. Under torchrun or accelerate launch every process calls
    this. Raises FdfoError subclasses for everything a user can mend, and Interrupted after a signal, once the
    state is saved.
    """
    check_policy(config.policy)
    team = Team(Accelerator(cpu=not torch.cuda.is_available(), log_with=list(config.log.trackers) or None))
    with stop_on_signals() as stop:
        run = Run(config, run_dir, team, stop)
        with run.console:
            run.go()
    return run.folder.path


class Run:
    """The state of one run in this process."""

    def __init__(self, config: Config, run_dir: str | Path | None, team: Team, stop: StopRequest):
        self.config, self.team = config, team
        self.source = training_prompts(config, team)
        held_out = held_out_prompts(config, team)
        self.folder: RunFolder = run_folder(config, run_dir, team)
        self.console = Console(team.is_main, config.train.epochs)
        for line in blank_lines(config):
            self.console.say(line, style="yellow")
        self.trainer = build_trainer(config, team, stop)
        self.jury = build_jury(self.trainer, held_out)
        self.weights = self.trainer.policy.weights
        self.progress = Progress()
        self.history: list[Evaluation] = []

    def go(self) -> None:
        """Continue from the folder's latest checkpoint to the end."""
        config, progress = self.config, self._restore()
        if config.log.trackers:
            self.team.accelerator.init_trackers("fdfo", config=config.model_dump(mode="json"))
        if not self.history:
            self._evaluate()
        while progress.epoch < config.train.epochs and not self._should_stop_early():
            self._epoch_or_save()
            is_last = progress.epoch == config.train.epochs
            if progress.epoch % config.eval.every == 0 or is_last:
                self._evaluate()
            is_best = progress.best_epoch == progress.epoch
            if progress.epoch % config.train.checkpoint_every == 0 or is_last or is_best or self._should_stop_early():
                self._save(self._state())
        self._finish()

    def _should_stop_early(self) -> bool:
        stop = self.config.eval.stop_when
        return stop is not None and self.progress.evaluations_since_best >= stop.patience

    def _finish(self) -> None:
        if self.team.is_main:
            write_report([self.folder.path])
            report = os.path.relpath(self.folder.path / "report.html")
            self.console.say(f"finished {self.progress.epoch} epochs; report: {report}")
        if self.config.log.trackers:
            self.team.accelerator.end_training()
        self.team.wait()

    # ---- one epoch ----

    def _epoch_or_save(self) -> None:
        """One epoch; if a signal or an error ends it, save the state from before it."""
        before = self._state()
        try:
            self._epoch()
        except (Interrupted, FdfoError) as reason:
            self._save(before)
            cause = f"stopped by {reason}" if isinstance(reason, Interrupted) else "stopped by an error"
            saved = f"saved after epoch {before.progress.epoch}" if before.progress.epoch else "no epoch was finished"
            self.console.say(f"{cause}; {saved}. Repeat the command with --run {self.folder.path} to continue")
            raise

    def _epoch(self) -> None:
        epoch, trainer = self.progress.epoch, self.trainer
        self.console.begin(epoch)
        noise = NoiseStreams(self.config.train.seed, epoch)
        prompts = self.source.take(epoch, self.config.prompts.pairs_per_epoch)
        own = prompts[share(len(prompts), self.team.rank, self.team.size)]
        is_shown = (epoch + 1) % self.config.eval.every == 0 and self.team.is_main
        self.console.phase(epoch, "sample")
        sampled = sample(trainer, own, noise, SHOWN_GROUPS if is_shown else 0)
        self.console.phase(epoch, "train")
        with trainer.phases("train"):
            updates = update(trainer, sampled, noise)
        seconds = self._count(sampled, updates)
        if self.team.is_main:
            self._log_epoch(sampled.metrics, updates, seconds)
            if is_shown:
                totals = torch.cat([part.total for part in sampled.scores])
                save_groups(self.folder.samples, epoch + 1, sampled.pairs, totals, [prompt.text for prompt in own])
        self.console.end(epoch, sampled.metrics["reward"], sampled.metrics["images"] / sum(seconds.values()))

    def _count(self, sampled: Sampled, updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Add the epoch to the progress; its seconds by phase."""
        progress, use = self.progress, self.trainer.policy.take_use()
        forward, trained = self.team.sum([use.forward, use.trained])
        progress.epoch += 1
        progress.updates += len(updates)
        progress.images += int(sampled.metrics["images"])
        progress.forwards += int(forward)
        progress.trained += int(trained)
        return self._count_seconds()

    def _count_seconds(self) -> dict[str, float]:
        seconds, total = self.trainer.phases.take(), self.progress.seconds
        for name, value in seconds.items():
            total[name] = total.get(name, 0.0) + value
        return seconds

    def _log_epoch(
        self, scores: Mapping[str, float], updates: Sequence[Mapping[str, float]], seconds: Mapping[str, float]
    ) -> None:
        progress = self.progress
        cost = {"images": progress.images, "forwards": progress.forwards, "trained": progress.trained}
        memory = peak_memory_gib(self.team.device)
        rollout: dict[str, Any] = {**scores, "seconds": dict(seconds), "total": cost, "peak_memory_gib": memory}
        self.folder.log("rollout", progress.epoch, rollout)
        for index, values in enumerate(updates):
            self.folder.log("update", progress.epoch, {"update": progress.updates - len(updates) + index + 1, **values})
        if self.config.log.trackers:
            flat = {**scores, **updates[-1], **{f"seconds/{name}": value for name, value in seconds.items()}}
            self.team.accelerator.log(flat, step=progress.epoch)

    # ---- evaluation ----

    def _evaluate(self) -> None:
        """Judge the held-out prompts; log, draw, raise alarms, note the best."""
        self.console.phase(self.progress.epoch - 1, "judge")
        with self.trainer.phases("evaluate"):
            evaluation, pictures = self.jury.judge(self.trainer, self.progress.epoch)
        self.history.append(evaluation)
        self._note_best(evaluation)
        self._count_seconds()
        if self.team.is_main:
            titles = [self.jury.prompts[number].text for number in self.jury.shown]
            save_gallery(self.folder.samples, evaluation.epoch, pictures, titles)
            self._log_evaluation(evaluation, alarms(self.history))
            write_report([self.folder.path])

    def _log_evaluation(self, evaluation: Evaluation, found: Sequence[Alarm]) -> None:
        self.folder.save_evaluation(evaluation)
        intervals = {name: evaluation.interval(name) for name in evaluation.metrics}
        values = {name: {"mean": i.mean, "low": i.low, "high": i.high} for name, i in intervals.items()}
        self.folder.log("evaluation", evaluation.epoch, {"scores": values, "velocity_rms": evaluation.velocity_rms})
        self.console.say(f"held-out, epoch {evaluation.epoch}: " + ", ".join(f"{n} {i}" for n, i in intervals.items()))
        for alarm in found:
            self.folder.log("alarm", alarm.epoch, {"name": alarm.name, "message": alarm.message})
            self.console.say(f"alarm ({alarm.name}): {alarm.message}", style="bold yellow")
        if self.config.log.trackers:
            means = {f"held-out/{name}": i.mean for name, i in intervals.items()}
            self.team.accelerator.log(means, step=evaluation.epoch)

    def _note_best(self, evaluation: Evaluation) -> None:
        stop, progress = self.config.eval.stop_when, self.progress
        value = evaluation.interval(stop.metric if stop else "reward").mean
        if progress.best_metric is None or value > progress.best_metric:
            progress.best_metric, progress.best_epoch, progress.evaluations_since_best = value, progress.epoch, 0
        else:
            progress.evaluations_since_best += 1

    # ---- saving and restoring ----

    def _state(self) -> State:
        """A copy, on the CPU, of all that determines the rest of the run."""
        ema = self.trainer.ema
        return State(
            progress=Progress(**{**vars(self.progress), "seconds": dict(self.progress.seconds)}),
            weights={name: value.cpu() for name, value in self.weights.copy().items()},
            optimizer=optimizer_tensors(self.trainer.optimizer, list(self.weights.named())),
            ema=None if ema is None else {name: value.detach().cpu().clone() for name, value in ema.items()},
        )

    def _save(self, state: State) -> None:
        if not self.team.is_main or state.progress.epoch == 0:
            return
        with self.trainer.phases("save"):
            path = save_checkpoint(self.folder.checkpoints, state, self.weights)
            if state.progress.best_epoch == state.progress.epoch:
                write_atomically(self.folder.checkpoints / "best", path.name + "\n")
            prune(self.folder.checkpoints, self.config.train.keep, self.config.train.keep_every)

    def _restore(self) -> Progress:
        """Continue from the newest sound checkpoint, or start; what was written after it is forgotten."""
        state, complaints = load_latest(self.folder.checkpoints, self.weights)
        for line in complaints:
            self.console.say(line, style="yellow")
        if state is not None:
            self.progress = state.progress
            self.weights.set(state.weights)
            restore_optimizer(self.trainer.optimizer, list(self.weights.named()), state.optimizer)
            for name, value in (state.ema or {}).items():
                assert self.trainer.ema is not None
                self.trainer.ema[name].copy_(value)
            self.console.say(f"continuing after epoch {self.progress.epoch}")
        if self.team.is_main:
            self.folder.forget_after(self.progress.epoch if state else -1)
        self.team.wait()
        self.history = read_evaluations(self.folder.path)
        return self.progress
