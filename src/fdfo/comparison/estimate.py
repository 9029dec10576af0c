"""How long a plan takes on one core, told before it is begun and from what it has measured since."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from fdfo.comparison.cells import Configurations, Run, final_runs, first_setting, guidance_runs, planned_settings
from fdfo.comparison.plan import Plan
from fdfo.comparison.results import Result
from fdfo.comparison.tuning import state, tuning_runs
from fdfo.config.tree import Config
from fdfo.evaluation.report.text import duration
from fdfo.words import plural

SECONDS_PER_EVALUATION = {"shapes": 1 / 350}
"""Of one core, by policy: network evaluations of whole runs, their scores, steps and pictures with them. Measured where
two cores are shared with other work (310 a second of the processor); a quiet core does more."""

START_S = 12.0
"""Seconds until a run makes its first image (measured)."""


@dataclass(frozen=True)
class Estimate:
    """Runs of a stage that are left, and their seconds on one core; NaN where nothing is known of the model."""

    stage: str
    runs: int
    seconds: float


def estimate(plan: Plan, configurations: Configurations, results: Sequence[Result]) -> list[Estimate]:
    """What is left of a plan, without extensions of its sweeps."""
    done = {one.run for one in results if one.is_sound}
    pairs = [(score, cell) for score in plan.scores for cell in plan.cells_on(score)]
    tuning = [run for score, cell in pairs for run in _tuning_left(plan, configurations, results, score, cell)]
    finals = final_runs(plan, {(score, cell): first_setting(plan, cell) for score, cell in pairs})
    ended = {(one.score, one.cell, one.seed) for one in results if one.stage == "final" and one.is_sound}
    rate = seconds_per_evaluation(configurations, results)
    stages = {
        "guidance": [run for run in guidance_runs(plan) if run not in done],
        "tuning": tuning,
        "final": [run for run in finals if (run.score, run.cell, run.seed) not in ended],
    }
    costs: dict[Run, float] = {}  # seeds cost the same

    def seconds(run: Run) -> float:
        key = replace(run, seed=plan.seeds[0])
        if key not in costs:
            costs[key] = evaluations_of(configurations, key)
        return START_S + rate * costs[key]

    return [Estimate(stage, len(runs), sum(map(seconds, runs))) for stage, runs in stages.items()]


def _tuning_left(
    plan: Plan, configurations: Configurations, results: Sequence[Result], score: str, cell: str
) -> list[Run]:
    """As many runs as are left of a cell's grids; those of later grids stand for others around the best before."""
    planned = tuning_runs(plan, score, cell, planned_settings(plan, cell))
    if len(planned) == len(plan.tuning_seeds):  # one setting: nothing to choose
        return []
    found = state(plan, results, score, cell, configurations.allows(score, cell))
    if found.chosen is not None:
        return []
    done = sum((one.stage, one.score, one.cell) == ("tuning", score, cell) and one.is_sound for one in results)
    return planned[done:]


def evaluations_of(configurations: Configurations, run: Run) -> float:
    """Network evaluations of a whole run: training, and judging at every point of its curve."""
    config = configurations.complete(run)
    if run.stage == "guidance":
        return judged_once(config)
    points = 1 + ceil(config.train.epochs / config.eval.every) + len(config.eval.at)
    both = 2 if config.eval.raw and config.optim.ema is not None else 1
    training = config.train.epochs * configurations.epoch_evaluations(config)
    return training + both * points * judged_once(config)


def judged_once(config: Config) -> float:
    """Network evaluations of one evaluation."""
    settings, guided = config.eval, 1 if config.policy.guidance == 1 else 2
    return settings.prompts * settings.images_per_prompt * settings.steps * guided


def seconds_per_evaluation(configurations: Configurations, results: Sequence[Result]) -> float:
    """Measured in the runs of this plan where there are any; else known of the model, else NaN."""
    finished = [one for one in results if one.is_sound and one.curve and one.evaluations > 0]
    if not finished:
        return SECONDS_PER_EVALUATION.get(configurations.policy, float("nan"))
    return float(np.median([sum(one.phases.values()) / evaluations_of(configurations, one.run) for one in finished]))


def told(estimates: Sequence[Estimate]) -> str:
    """`left: 3 guidance runs, 135 tuning runs, 45 final runs; about 9 h 20 min on one core, more where ...`."""
    left = [one for one in estimates if one.runs]
    if not left:
        return "nothing is left to do"
    runs = ", ".join(plural(one.runs, f"{one.stage} run") for one in left)
    total = sum(one.seconds for one in left)
    time = f"about {duration(total)} on one core" if total == total else "unknown time: nothing is measured yet"
    more = ", more where a sweep is extended" if any(one.stage == "tuning" for one in left) else ""
    return f"left: {runs}; {time}{more}"
