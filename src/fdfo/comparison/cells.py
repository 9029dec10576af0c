"""From a plan to its runs: which there are, how each is configured, and how long it is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any, Literal

from fdfo.comparison.counting import EpochCost, epoch_cost
from fdfo.comparison.plan import Judging, Plan, nested
from fdfo.comparison.prices import Rates, rates
from fdfo.config.load import load_config
from fdfo.config.tree import Config
from fdfo.errors import ConfigError

Stage = Literal["guidance", "tuning", "final"]
"""guidance: the untrained model under guidance, as a reference; tuning: chooses a setting; final: is reported."""

Setting = tuple[tuple[str, Any], ...]
"""Swept fields with their values, in the order of the sweep."""

OWNED = ("train.epochs", "train.seed", "train.checkpoint_every", "train.keep", "eval.every", "eval.at", "eval.raw")
JUDGED = ("prompts.eval_name", "prompts.eval_path", "eval.prompts", "eval.images_per_prompt", "eval.noise_seed")
SCORED = ("reward", "eval.rewards")
"""Fields that the plan sets itself, and cells therefore cannot."""


def setting_text(setting: Setting) -> str:
    """`optim.lr=0.0002, method.strength=0.01`; empty where nothing is swept."""
    return ", ".join(f"{key}={value}" for key, value in setting)


@dataclass(frozen=True)
class Run:
    """One run of a plan."""

    stage: Stage
    score: str
    cell: str
    setting: Setting
    seed: int

    @property
    def path(self) -> Path:
        """Where it is below the folder of the plan's runs."""
        name = "-".join([*(f"{key}={value}" for key, value in self.setting), f"seed-{self.seed}"])
        return Path(self.stage, self.score, self.cell, re.sub(r"[^A-Za-z0-9_.=+-]", "_", name))

    def __str__(self) -> str:
        setting = f" with {setting_text(self.setting)}" if self.stage == "tuning" else ""
        return f"{self.stage} {self.cell} on {self.score}{setting}, seed {self.seed}"


@dataclass(frozen=True)
class Length:
    """How long a run is, in epochs."""

    spent: int
    """Until the budget of evaluations is spent; 0 where it is too small for one epoch."""
    stepped: int
    """Until it has taken the plan's steps."""

    @property
    def epochs(self) -> int:
        """Until both are done."""
        return max(self.spent, self.stepped)


def guidance_name(scale: float) -> str:
    """The cell of the untrained model under guidance."""
    return f"guidance-{scale:g}"


def guidance_runs(plan: Plan) -> list[Run]:
    """The untrained model under guidance, judged on every score."""
    return [
        Run("guidance", score, guidance_name(scale), (("policy.guidance", scale),), plan.seeds[0])
        for score in plan.scores
        for scale in plan.guidance
    ]


def final_runs(plan: Plan, chosen: Mapping[tuple[str, str], Setting]) -> list[Run]:
    """Runs with the chosen setting of each (score, cell); seed by seed, so that all cells grow together."""
    return [
        Run("final", score, cell, chosen[score, cell], seed)
        for seed in plan.seeds
        for score in plan.scores
        for cell in plan.cells_on(score)
        if (score, cell) in chosen
    ]


def first_setting(plan: Plan, cell: str) -> Setting:
    """The first value of every swept field; empty where nothing is swept."""
    return tuple({key: values[0] for grid in plan.sweep_of(cell) for key, values in grid.items()}.items())


def planned_settings(plan: Plan, name: str) -> list[Setting]:
    """All settings that may be tried before a grid is extended."""
    first = dict(first_setting(plan, name))
    tried: list[Setting] = [] if plan.sweep_of(name) else [()]
    for grid in plan.sweep_of(name):
        tried += [
            tuple({**first, **dict(zip(grid, values, strict=True))}.items()) for values in product(*grid.values())
        ]
    return list(dict.fromkeys(tried))


@dataclass(frozen=True)
class Configurations:
    """The configuration of every run of a plan; each is loaded once, and costs are counted once."""

    plan: Plan
    _loaded: dict[Run, Config] = field(default_factory=dict)
    _costs: dict[tuple[str, str], EpochCost] = field(default_factory=dict)

    @cached_property
    def base(self) -> dict[str, Config]:
        """What the cells start from, by score; its seed and length mean nothing."""
        plan = self.plan
        return {score: load_config(plan.recipe, nested(self._common(score, plan.test))) for score in plan.scores}

    @cached_property
    def policy(self) -> str:
        """Name of the model."""
        return load_config(self.plan.recipe, nested(self.plan.changes)).policy.name

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of a final run: the plan's, or as many as every cell takes within the budget."""
        if self.plan.steps is not None:
            return self.plan.steps
        taken = []
        for score in self.plan.scores:
            for cell in self.plan.cells_on(score):
                config = self.load(Run("final", score, cell, first_setting(self.plan, cell), 0))
                taken.append(int(self.plan.budget // self.epoch_evaluations(config)) * config.optim.updates_per_epoch)
        return max(1, min(taken))

    def settings(self, run: Run) -> dict[str, Any]:
        """All that is changed of the run's recipe, by dotted key. Raises ConfigError."""
        if run.stage == "guidance":
            return {**self._without_length(run), "train.epochs": 0}
        length = self.length(run, self.load(run))
        points = self.plan.evaluations if run.stage == "final" else 1
        every = ceil(length.epochs / points)
        return {
            **self._without_length(run),
            "train.epochs": length.epochs,
            "eval.every": every,
            "eval.at": sorted({length.spent, length.stepped}),
            "eval.raw": run.stage == "final",
            "train.checkpoint_every": max(1, ceil(length.epochs / self.plan.evaluations)),
            "train.keep": 1,
        }

    def _without_length(self, run: Run) -> dict[str, Any]:
        judged = self.plan.validation if run.stage == "tuning" else self.plan.test
        changes = {} if run.stage == "guidance" else self.plan.cells[run.cell].changes
        return {**self._common(run.score, judged), **changes, **dict(run.setting), "train.seed": run.seed}

    def recipe(self, run: Run) -> str:
        """What the run starts from."""
        return self.plan.recipe if run.stage == "guidance" else self.plan.cells[run.cell].recipe or self.plan.recipe

    def load(self, run: Run) -> Config:
        """The configuration without its length. Raises ConfigError."""
        if run not in self._loaded:
            self._loaded[run] = load_config(self.recipe(run), nested(self._without_length(run)))
        return self._loaded[run]

    def complete(self, run: Run) -> Config:
        """The configuration as it is trained, with its length and the points of its curve."""
        return load_config(self.recipe(run), nested(self.settings(run)))

    def length(self, run: Run, config: Config) -> Length:
        """How many epochs the budget pays for, and how many the steps take."""
        share = self.plan.tuning_share if run.stage == "tuning" else 1.0
        spent = int(share * self.plan.budget // self.epoch_evaluations(config))
        return Length(spent, ceil(share * self.steps / config.optim.updates_per_epoch))

    def epoch_evaluations(self, config: Config) -> float:
        """Network evaluations of an epoch, everything charged."""
        return self.rates(config).evaluations(self.cost(config))

    def rates(self, config: Config) -> Rates:
        """What is charged for what. Raises ConfigError where a price is needed and not known."""
        return rates(self.plan.prices, config, self.cost(config))

    def allows(self, score: str, cell: str) -> Callable[[Setting], bool]:
        """Whether a setting of a cell can be run: its fields may have ends of their own, and an epoch must fit."""

        def allowed(setting: Setting) -> bool:
            run = Run("final", score, cell, setting, 0)
            try:
                return self.length(run, self.load(run)).spent > 0
            except ConfigError:
                return False

        return allowed

    def cost(self, config: Config) -> EpochCost:
        """What an epoch takes, counted."""
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
