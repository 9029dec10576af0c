"""A whole run: epochs, evaluations and checkpoints; continues an interrupted run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import torch

from fdfo.config.tree import Config
from fdfo.errors import FdfoError, first_line, is_out_of_memory
from fdfo.evaluation.alarms import alarms
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import save_gallery, save_groups
from fdfo.evaluation.report import write_report
from fdfo.evaluation.runs import REPORT, read_evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.models.load import policy_notes
from fdfo.models.reading import reading_notes
from fdfo.pictures import Pictures
from fdfo.prompts import ListSource
from fdfo.prompts.told import prompts_told
from fdfo.records import Prompt
from fdfo.training.checkpoint import (
    Progress,
    State,
    checkpoint_files,
    checkpoint_name,
    load_latest,
    prune,
    read_state,
    save_checkpoint,
    set_unsound_aside,
)
from fdfo.training.choosing import best
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.epoch import sample, update
from fdfo.training.events import Evaluated, Event, Saved, Trained
from fdfo.training.findings import gain
from fdfo.training.fitting import OUT_OF_MEMORY, log_own_halvings, tell_halvings
from fdfo.training.folder import RunFolder
from fdfo.training.interrupt import Interrupted, StopRequest
from fdfo.training.journal import Journal
from fdfo.training.judging import build_jury
from fdfo.training.setup import build_engine, precision_notes, prompt_notes
from fdfo.training.state import put_back, state_of
from fdfo.training.trackers import Trackers
from fdfo.visible import from_here

SHOWN_GROUPS = 8
"""Training groups whose pictures are kept at each evaluation."""


class Run:
    """The state of one run in this process."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        source: ListSource,
        held_out: Sequence[Prompt],
        team: Team,
        stop: StopRequest,
    ):
        self.config, self.folder, self.source, self.team = config, folder, source, team
        self.console = Console(team.is_main, config.train.epochs)
        told, *advice = prompts_told(config.prompts, config.eval.prompts, source.prompts, held_out)
        self.console.say(told)
        notes = (advice, policy_notes(config.policy), prompt_notes(config), precision_notes(config, team.device))
        for line in chain.from_iterable(notes):
            self.console.say(line, style="yellow")
        self.engine = build_engine(config, team, stop, self.console)
        for line in reading_notes(config.policy, [prompt.text for prompt in (*source.prompts, *held_out)]):
            self.console.say(line, style="yellow")
        self.jury = build_jury(self.engine, held_out)
        if team.is_main:
            self.folder.begin()
            self.folder.tell_prompts(told)
        self.engine.reward.asked.attend(self.folder.path, team.rank, team.size, self.console.say)
        self.files = checkpoint_files(config)
        self.trackers = Trackers(config, folder.path, team)
        size, pairwise = self.engine.method.group_size, self.engine.reward.held_out_pairwise
        self.journal = Journal(self.folder, self.console, team, size, self.trackers, pairwise)
        self.weights = self.engine.policy.weights
        self.progress = Progress()
        self.history: list[Evaluation] = []

    def go(self) -> None:
        """Continue from the folder's latest checkpoint to the end."""
        for _ in self.events():
            pass

    def events(self) -> Iterator[Event]:
        """Continue from the folder's latest checkpoint to the end, and tell what happens.

        Where nobody asks for the next event, the state is saved, and repeating the run continues it.
        """
        self._restore()
        self.trackers.start()
        self.console.start(self.progress.epoch)
        try:
            yield from self._epochs()
        except GeneratorExit:
            self._leave(state_of(self.engine, self.progress) if self.team.is_main else None, "stopped here")
            self._report_stop()
            raise
        self._finish()

    def _epochs(self) -> Iterator[Event]:
        config, progress = self.config, self.progress
        if found := self._evaluate_if_due():
            self._save_together()  # the checkpoint exists, and may be the best now
            yield found
        while progress.epoch < config.train.epochs and not self._should_stop_early():
            with self._saving_on_failure():
                trained = self._epoch()
            yield trained
            if found := self._evaluate_if_due():
                yield found
            is_best = self._best()[0] == progress.epoch
            is_last = progress.epoch == config.train.epochs or self._should_stop_early()
            # After an interruption pictures may differ; people should not have to choose again.
            is_chosen = bool(self.engine.reward.asked.names)
            if progress.epoch % config.train.checkpoint_every == 0 or is_last or is_best or is_chosen:
                self._save_together()
                yield Saved(epoch=progress.epoch, folder=self.folder.checkpoints / checkpoint_name(progress.epoch))

    def _evaluate_if_due(self) -> Evaluated | None:
        """Evaluate the current weights if that is due; an interruption loses the evaluation, but no epoch."""
        if not self._is_due():
            return None
        with self._saving_on_failure():
            return self._evaluate()

    def _is_due(self) -> bool:
        """Whether the current weights should be evaluated and were not yet."""
        epoch = self.progress.epoch
        return self._is_judged(epoch) and (not self.history or self.history[-1].epoch != epoch)

    def _is_judged(self, epoch: int) -> bool:
        """Whether this epoch is evaluated in a run of so many: the last one always is."""
        return self.config.eval.is_due(epoch) or epoch == self.config.train.epochs

    def _best(self) -> tuple[int | None, int]:
        """Epoch of the best evaluation by the chosen score, and the number of evaluations since."""
        stop = self.config.eval.stop_when
        return best(self.history, self.engine.reward, stop.metric if stop else "reward")

    def _should_stop_early(self) -> bool:
        stop = self.config.eval.stop_when
        return stop is not None and self._best()[1] >= stop.patience

    @contextmanager
    def _saving_on_failure(self) -> Iterator[None]:
        """If a signal or an error ends the work inside, save the state from before it, and say how to continue."""
        before, stop = state_of(self.engine, self.progress) if self.team.is_main else None, self.engine.stop
        stop.before_leaving = lambda: self._leave(before, "stopped at once")  # where the work does not end
        try:
            yield
        except Exception as reason:
            stop.before_leaving = lambda: None
            is_full = is_out_of_memory(reason)
            cause = "out of memory" if is_full else reason if isinstance(reason, Interrupted) else "an error"
            self._leave(before, f"stopped by {cause}")
            if is_full:
                raise FdfoError(OUT_OF_MEMORY.format(first_line(reason))) from reason
            self._report_stop()
            raise

    def _report_stop(self) -> None:
        """Write the page as far as the run came, which a second signal does not wait for.

        One that cannot be written hides no reason to stop.
        """
        if self.team.is_main:
            with suppress(FdfoError, OSError):
                write_report([self.folder.path])

    def _leave(self, before: State | None, cause: str) -> None:
        if before is not None:
            epoch = before.progress.epoch
            self._save(before)
            log_own_halvings(self.engine, self.folder, epoch + 1)
            saved = f"saved after epoch {epoch}" if epoch else "no epoch was finished"
            self.console.say(f"{cause}; {saved}. Repeat the command with --run {self.folder.path} to continue")

    def _finish(self) -> None:
        if self.team.is_main:
            write_report([self.folder.path])
            report = from_here(self.folder.path / REPORT)
            self.console.stop()
            self.console.say_items(
                f"finished epoch {self.progress.epoch}", gain(self.history, self.engine.reward.held_out_pairwise)
            )
            self.console.say(f"report: {report}")
        self.trackers.end()
        self.team.wait()

    # ---- one epoch ----

    def _epoch(self) -> Trained:
        epoch, engine, processor = self.progress.epoch, self.engine, time.process_time()
        self.console.begin(epoch)
        self.team.take_traffic()
        noise = NoiseStreams(self.config.train.seed, epoch)
        size, is_last = self.config.prompts.pairs_per_epoch, epoch + 1 == self.config.train.epochs
        prompts, ahead = self.source.take(epoch, size), [] if is_last else self.source.take(epoch + 1, size)
        is_shown = self._is_judged(epoch + 1) and self.team.is_main
        sampled = sample(engine, prompts, noise, SHOWN_GROUPS if is_shown else 0, ahead)
        with engine.phases("train"):
            updates = update(engine, sampled, noise)
        self._count(sampled.metrics, updates)
        tell_halvings(engine, self.folder, self.progress.epoch)
        seconds = engine.phases.take()
        metrics = {**sampled.metrics, "processor_s": time.process_time() - processor}
        with self.team.together():
            if self.team.is_main:
                self.journal.epoch(self.progress, metrics, updates, seconds, engine.reward.asked.warnings())
            if is_shown and engine.method.needs_scores:
                totals = torch.cat([part.total for part in sampled.scores])
                save_groups(self.folder.samples, epoch + 1, sampled.pairs, totals, [prompt.text for prompt in prompts])
                self.trackers.show_pairs(epoch + 1)
        self.console.end(sampled.metrics["reward"], sampled.metrics["images"] / sum(seconds.values()))
        return Trained(epoch=epoch + 1, samples=metrics, updates=updates, seconds=seconds)

    def _count(self, scores: Mapping[str, float], updates: Sequence[Mapping[str, float]]) -> None:
        """Add the epoch to the progress."""
        progress, use = self.progress, self.engine.policy.take_use()
        forward, trained = self.team.sum([use.forward, use.trained])
        progress.epoch += 1
        progress.updates += len(updates)
        progress.images += int(scores["images"])
        progress.forwards += int(forward)
        progress.trained += int(trained)
        progress.skipped_updates = self.engine.skipped_updates

    # ---- evaluation ----

    def _evaluate(self) -> Evaluated:
        """Judge the held-out prompts; log, draw, raise alarms, note the best."""
        with self.engine.phases("evaluate"):
            evaluation, pictures = self.jury.judge(self.engine, self.progress.epoch)
            raw = self._judge_raw(evaluation)
        tell_halvings(self.engine, self.folder, self.progress.epoch)
        self.history.append(evaluation)
        seconds = self.engine.phases.take()
        with self.team.together():
            if self.team.is_main:
                self._tell_evaluation(evaluation, raw, pictures, seconds)
        titles = [self.jury.prompts[number].text for number in self.jury.shown]
        return Evaluated(epoch=evaluation.epoch, evaluation=evaluation, pictures=Pictures(pictures / 255, titles))

    def _judge_raw(self, averaged: Evaluation) -> Evaluation | None:
        """Evaluate the trained weights beside their average, if `eval.raw` asks for it."""
        if not self.config.eval.raw or self.engine.ema is None:
            return None
        if averaged.epoch == 0:
            return averaged  # both are the weights before training
        return self.jury.judge(self.engine, averaged.epoch, raw=True)[0]

    def _tell_evaluation(
        self, evaluation: Evaluation, raw: Evaluation | None, pictures: torch.Tensor, seconds: Mapping[str, float]
    ) -> None:
        titles = [self.jury.prompts[number].text for number in self.jury.shown]
        save_gallery(self.folder.samples, evaluation.epoch, pictures, titles)
        self.trackers.show_samples(evaluation.epoch)
        self.journal.evaluation(evaluation, alarms(self.history, unseen=self.jury.unseen.names), seconds)
        self.folder.save_evaluation(evaluation, raw)
        write_report([self.folder.path])

    # ---- saving and restoring ----

    def _save_together(self) -> None:
        """Save the current state; all processes leave if the one that writes cannot."""
        with self.team.together():
            self._save(state_of(self.engine, self.progress))

    def _save(self, state: State) -> None:
        if not self.team.is_main or state.progress.epoch == 0:
            return
        try:
            with self.engine.phases("save"):
                save_checkpoint(self.folder.checkpoints, self.files, state, self.weights)
                prune(self.folder.checkpoints, self.config.train.keep, self.config.train.keep_every, self._best()[0])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise FdfoError(OUT_OF_MEMORY.format(first_line(error))) from error

    def _restore(self) -> Progress:
        """Continue from the newest sound checkpoint, or start; drops what was written after it."""
        progress, complaints = load_latest(self.folder.checkpoints, self.files, self._go_on_from)
        for line in complaints:
            self.console.say(f"{line}; falling back to the one before", style="yellow")
        if progress is not None:
            self.progress = progress
            self.console.say(f"continuing after epoch {progress.epoch}")
        self.folder.check_shared(self.team, "checkpoints", self.progress.epoch)
        with self.team.together():
            if self.team.is_main:
                self.folder.mend()
            if self.team.is_main and self.progress.epoch < self.config.train.epochs:
                set_unsound_aside(self.folder.checkpoints, self.progress.epoch)
                self.folder.forget_after(self.progress.epoch if progress else -1, self.config.eval.is_due)
        self.history = read_evaluations(self.folder.path)
        self.folder.check_shared(self.team, "evaluations", self.history[-1].epoch if self.history else -1)
        return self.progress

    def _go_on_from(self, checkpoint: Path) -> Progress:
        state = read_state(checkpoint, self.weights)
        put_back(self.engine, state)
        return state.progress
