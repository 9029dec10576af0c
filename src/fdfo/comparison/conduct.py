"""A plan from its first run to its last: guidance, tuning, choosing, final runs; what is done is not done again."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fdfo.comparison.cells import Configurations, Run, Setting, final_runs, guidance_runs
from fdfo.comparison.plan import TRAINING_SCORE, Plan
from fdfo.comparison.refusals import refuse_unsound
from fdfo.comparison.results import Result, Results, measured, planned
from fdfo.comparison.tuning import state, tuning_runs
from fdfo.comparison.workers import Job, Places, run_all
from fdfo.config.load import to_yaml
from fdfo.files import write_atomically
from fdfo.training.interrupt import StopRequest
from fdfo.words import plural

Say = Callable[[str], None]


class Conduct:
    """The runs of a plan, in folders below `folder`, and their results."""

    def __init__(self, plan: Plan, results: Results, folder: Path, say: Say):
        self.plan, self.results, self.folder, self.say = plan, results, folder, say
        self.configurations = Configurations(plan)
        self._failed_before: set[Run] = set()

    def prepare(self) -> None:
        """Raise ConfigError, before anything runs, for a plan that cannot be run or whose results are of another."""
        refuse_unsound(self.configurations)
        self._refuse_changed()

    def _refuse_changed(self) -> None:
        known = self.configurations
        runs = [run for run in self.results.found if self._is_planned(run)]
        self.results.refuse_changed({run: (known.recipe(run), known.settings(run)) for run in runs})

    def _is_planned(self, run: Run) -> bool:
        """Whether the plan could lead to this run."""
        plan = self.plan
        if run.stage == "guidance":
            return run in guidance_runs(plan)
        seeds = plan.tuning_seeds if run.stage == "tuning" else plan.seeds
        return (
            run.cell in plan.cells
            and run.score in plan.scores_of(run.cell)
            and run.seed in seeds
            and {key for key, _ in run.setting} <= {*plan.swept_fields(run.cell)}
        )

    def go(self, places: Places, stop: StopRequest) -> None:
        """Do all that is not done; nobody else writes the results meanwhile.

        Raises Interrupted after a signal, TimeOver when the time of `places` is over; what is under way is saved.
        """
        self.results.read_mended()  # another process may have added to them since
        self._refuse_changed()
        self._failed_before = {run for run, one in self.results.found.items() if not one.is_sound}
        self._do(guidance_runs(self.plan), places, stop)
        while wanted := self.wanted_tuning():
            self._do(wanted, places, stop)
        self._do(final_runs(self.plan, self.chosen()), places, stop)

    def wanted_tuning(self) -> list[Run]:
        """Tuning runs that are to be done next, of all cells; seed by seed. One that failed is tried once a command."""
        runs = []
        for score in self.plan.scores:
            for cell in self.plan.cells_on(score):
                settings = state(self.plan, self._current(), score, cell, self._allows(score, cell)).wanted
                runs += tuning_runs(self.plan, score, cell, settings)
        done = {one.run for one in self._current()}
        return sorted((run for run in runs if run not in done), key=lambda run: self.plan.tuning_seeds.index(run.seed))

    def chosen(self) -> dict[tuple[str, str], Setting]:
        """The chosen setting of every (score, cell) whose tuning has come to its end."""
        found = {
            (score, cell): state(self.plan, self._current(), score, cell, self._allows(score, cell)).chosen
            for score in self.plan.scores
            for cell in self.plan.cells_on(score)
        }
        return {key: setting for key, setting in found.items() if setting is not None}

    def _allows(self, score: str, cell: str) -> Callable[[Setting], bool]:
        return self.configurations.allows(score, cell)

    def _current(self) -> list[Result]:
        """Results, without failures of earlier commands."""
        return [one for one in self.results.ordered if one.run not in self._failed_before]

    def _do(self, runs: Sequence[Run], places: Places, stop: StopRequest) -> None:
        left = [run for run in runs if not self.results.is_done(run)]
        numbers = {run: f"{index}/{len(left)}" for index, run in enumerate(left, 1)}
        if len(left) < len(runs):
            self.say(f"{len(runs) - len(left)} of {len(runs)} {runs[0].stage} runs are done")

        def ended(job: Job, failure: str | None) -> None:
            result = self._result(job, failure)
            self.results.keep(result)
            self._failed_before.discard(job.run)
            if not self.plan.keep_checkpoints and result.is_sound:
                shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
            self.say(f"{numbers[job.run]} {job.run}: {_outcome(result)}")

        run_all([self._job(run) for run in left], places, stop, ended)

    def _job(self, run: Run) -> Job:
        """The job of a run, with its configuration written."""
        config = self.folder / run.path.with_name(f"{run.path.name}.yaml")
        config.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config, to_yaml(self.configurations.complete(run)))
        return Job(run, config)

    def _result(self, job: Job, failure: str | None) -> Result:
        run, known = job.run, self.configurations
        recipe, settings = known.recipe(run), known.settings(run)
        if run.stage == "guidance":
            one, cost, rates = planned(run, recipe, settings), None, None
        else:
            config = known.load(run)
            cost, rates = known.cost(config), known.rates(config)
            one = planned(run, recipe, settings, known.length(run, config), rates)
        return measured(one, cost, rates, job.folder) if failure is None else replace(one, error=failure)


def _outcome(result: Result) -> str:
    if not result.is_sound:
        return f"failed: {result.error}"
    first, last = result.curve[0], result.curve[-1]
    before, after = first.values[TRAINING_SCORE], last.values[TRAINING_SCORE]
    return f"{before:.4g} -> {after:.4g} in {plural(last.steps, 'step')}, {last.seconds:.0f} s of training"
