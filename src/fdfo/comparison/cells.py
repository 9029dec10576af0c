"""From a plan to its runs: which there are, how each is configured, and how long it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from fdfo.comparison.counting import EpochCost, epoch_cost
from fdfo.comparison.plan import Judging, Plan, nested
from fdfo.config.load import load_config
from fdfo.config.tree import Config

Stage = Literal["tuning", "final"]

TRAINED_COST = {"full": 3.0, "lora": 2.12}
"""Cost of a row forward and backward in rows forward; see Plan.trained_cost."""

OWNED = ("train.epochs", "train.seed", "train.checkpoint_every", "train.keep", "eval.every")
JUDGED = ("prompts.eval_name", "prompts.eval_path", "eval.prompts", "eval.images_per_prompt", "eval.noise_seed")
SCORED = ("reward", "eval.rewards")
"""Fields that the plan sets itself, and cells therefore cannot."""


@dataclass(frozen=True)
class Run:
    """One run of a plan."""

    stage: Stage
    score: str
    cell: str
    point: int
    """Which of the cell's swept settings, in order."""
    seed: int

    @property
    def path(self) -> Path:
        """Where it is below the folder of the plan's runs."""
        return Path(self.stage, self.score, self.cell, f"setting-{self.point}-seed-{self.seed}")

    def __str__(self) -> str:
        setting = f" setting {self.point}" if self.stage == "tuning" else ""
        return f"{self.stage} {self.cell} on {self.score}{setting} seed {self.seed}"


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    epochs: int
    needed: float
    """Network evaluations of one epoch."""


def points(plan: Plan, cell: str) -> list[dict[str, Any]]:
    """The swept settings of a cell, by dotted key: all combinations; one without any where nothing is swept."""
    sweep = plan.sweep_of(cell)
    return [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]


def tuning_runs(plan: Plan) -> list[Run]:
    """Runs that choose a setting for every cell and score that has a choice; seed by seed."""
    return [
        Run("tuning", score, cell, point, seed)
        for seed in plan.tuning_seeds
        for cell in plan.cells
        for score in plan.scores_of(cell)
        for point in range(len(points(plan, cell)))
        if len(points(plan, cell)) > 1
    ]


def final_runs(plan: Plan, chosen: Mapping[tuple[str, str], int]) -> list[Run]:
    """Runs with the chosen setting of each (score, cell); seed by seed, so that all cells grow together."""
    return [
        Run("final", score, cell, chosen[score, cell], seed)
        for seed in plan.seeds
        for cell in plan.cells
        for score in plan.scores_of(cell)
        if (score, cell) in chosen
    ]


@dataclass(frozen=True)
class Configurations:
    """The configuration of every run of a plan; costs are counted once."""

    plan: Plan
    _costs: dict[tuple[str, str], EpochCost] = field(default_factory=dict)

    @cached_property
    def base(self) -> dict[str, Config]:
        """What the cells start from, by score; its seed and length mean nothing."""
        plan = self.plan
        return {score: load_config(plan.recipe, nested(self._common(score, plan.test))) for score in plan.scores}

    def settings(self, run: Run) -> dict[str, Any]:
        """All that is changed of the cell's recipe, by dotted key. Raises ConfigError."""
        epochs = self.length(run, self.load(run)).epochs
        every = -(-epochs // self.plan.evaluations)
        owned = {"train.epochs": epochs, "eval.every": every, "train.checkpoint_every": every, "train.keep": 1}
        return {**self._without_length(run), **owned}

    def _without_length(self, run: Run) -> dict[str, Any]:
        plan, cell = self.plan, self.plan.cells[run.cell]
        judged = plan.validation if run.stage == "tuning" else plan.test
        return {
            **self._common(run.score, judged),
            **cell.changes,
            **points(plan, run.cell)[run.point],
            "train.seed": run.seed,
        }

    def recipe(self, run: Run) -> str:
        """What the run's cell starts from."""
        return self.plan.cells[run.cell].recipe or self.plan.recipe

    def load(self, run: Run) -> Config:
        """The configuration without its length. Raises ConfigError."""
        return load_config(self.recipe(run), nested(self._without_length(run)))

    def length(self, run: Run, config: Config) -> Length:
        """How many epochs the budget pays for; 0 where it is too small for one."""
        needed = self._cost(config).evaluations(self.trained_cost(config))
        return Length(int(self.plan.budget // needed), needed)

    def trained_cost(self, config: Config) -> float:
        """Cost of a row forward and backward in rows forward."""
        return self.plan.trained_cost or TRAINED_COST[config.policy.adapter.kind]

    def complete(self, run: Run) -> Config:
        """The configuration as it is trained, with its length and the points of its curve."""
        return load_config(self.recipe(run), nested(self.settings(run)))

    def _cost(self, config: Config) -> EpochCost:
        key = (repr(config.method), repr((config.prompts.pairs_per_epoch, config.policy.guidance)))
        if key not in self._costs:
            self._costs[key] = epoch_cost(config)
        return self._costs[key]

    def _common(self, score: str, judging: Judging) -> dict[str, Any]:
        """What all cells have in common, by dotted key."""
        trained = self.plan.scores[score]
        return {
            **self.plan.changes,
            "reward": list(trained.reward),
            "eval.rewards": list(trained.unseen),
            "prompts.eval_name": judging.name,
            "prompts.eval_path": judging.path,
            "eval.prompts": judging.prompts,
            "eval.images_per_prompt": judging.images,
            "eval.noise_seed": judging.noise_seed,
        }
