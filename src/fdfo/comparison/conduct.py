"""A plan from its first run to its last: tuning, choosing, final runs; what is done is not done again."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fdfo.comparison.cells import Configurations, Run, final_runs, points, tuning_runs
from fdfo.comparison.plan import TRAINING_SCORE, Plan
from fdfo.comparison.refusals import refuse_unsound
from fdfo.comparison.results import Result, Results, measured
from fdfo.comparison.selection import all_chosen
from fdfo.comparison.workers import Job, default_jobs, run_all
from fdfo.config.load import to_yaml
from fdfo.files import write_atomically
from fdfo.training.interrupt import StopRequest

Say = Callable[[str], None]


class Conduct:
    """The runs of a plan, in folders below `folder`, and their results."""

    def __init__(self, plan: Plan, results: Results, folder: Path, say: Say):
        self.plan, self.results, self.folder, self.say = plan, results, folder, say
        self.configurations = Configurations(plan)

    def prepare(self) -> None:
        """Raise ConfigError, before anything runs, for a plan that cannot be run or whose results are of another."""
        refuse_unsound(self.configurations)
        self._refuse_changed()

    def _refuse_changed(self) -> None:
        runs = [*tuning_runs(self.plan), *final_runs(self.plan, all_chosen(self.plan, self.results.ordered))]
        known = self.configurations
        self.results.refuse_changed({run: (known.recipe(run), known.settings(run)) for run in runs})

    def go(self, stop: StopRequest) -> None:
        """Do all that is not done; nobody else writes the results meanwhile. Raises Interrupted after a signal."""
        self.results.read()  # another process may have added to them since
        self._refuse_changed()
        finished = {(run.score, run.cell) for run in self.results.found if run.stage == "final"}
        # A choice stands: a tuning run that failed is not repeated once its cell has final results.
        self._do([run for run in tuning_runs(self.plan) if (run.score, run.cell) not in finished], stop)
        self._do(final_runs(self.plan, all_chosen(self.plan, self.results.ordered)), stop)

    def _do(self, runs: Sequence[Run], stop: StopRequest) -> None:
        left = [run for run in runs if not self.results.is_done(run)]
        numbers = {run: f"{index}/{len(left)}" for index, run in enumerate(left, 1)}
        if len(left) < len(runs):
            self.say(f"{len(runs) - len(left)} of {len(runs)} {runs[0].stage} runs are done")

        def ended(job: Job, failure: str | None) -> None:
            result = self._result(job, failure)
            self.results.keep(result)
            if not self.plan.keep_checkpoints and result.is_sound:
                shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
            self.say(f"{numbers[job.run]} {job.run}: {_outcome(result)}")

        run_all([self._job(run) for run in left], self.plan.jobs or default_jobs(), stop, ended)

    def _job(self, run: Run) -> Job:
        """The job of a run, with its configuration written."""
        config = self.folder / run.path.with_name(f"{run.path.name}.yaml")
        config.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config, to_yaml(self.configurations.complete(run)))
        return Job(run, config)

    def _result(self, job: Job, failure: str | None) -> Result:
        run, known = job.run, self.configurations
        planned = Result(
            **vars(run),
            swept=points(self.plan, run.cell)[run.point],
            recipe=known.recipe(run),
            settings=known.settings(run),
            trained_cost=known.trained_cost(known.load(run)),
        )
        return measured(planned, job.folder) if failure is None else replace(planned, error=failure)


def _outcome(result: Result) -> str:
    if not result.is_sound:
        return f"failed: {result.error}"
    first, last = result.curve[0], result.curve[-1]
    before, after = first.values[TRAINING_SCORE], last.values[TRAINING_SCORE]
    return f"{before:.4g} -> {after:.4g} in {last.seconds:.0f} s of training"
