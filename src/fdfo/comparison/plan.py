"""A plan: which cells are compared, on which scores and seeds, within which budget."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from fdfo.config.bounds import Budget, Count, Images, Positive, Processes, Seed, Threshold
from fdfo.config.explain import explain
from fdfo.config.load import load_config, recipe_names
from fdfo.config.presets import expanded
from fdfo.config.section import Section
from fdfo.config.tree import RewardConfig
from fdfo.documents import BadDocument, parse_yaml
from fdfo.errors import ConfigError

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
"""A name that can be a folder."""

Axis = Literal["evaluations", "images", "seconds"]
"""What a run costs: network evaluations, images scored for training, seconds of training."""

TRAINING_SCORE = "reward"
"""Name of the score that a run is trained on, in its evaluations."""

Changes = Mapping[str, Any]
"""Values by dotted key, as `method.steps: 10`."""


class Trained(Section):
    """What is trained on, and what is watched beside it; entries as in a recipe."""

    reward: tuple[Any, ...]
    """The scores of the weighted sum."""
    unseen: tuple[Any, ...] = ()
    """The scores that are not trained on."""


class Cell(Section):
    """One of the things that are compared."""

    recipe: str | None = None
    """What it starts from; null: the plan's recipe."""
    changes: Changes = Field(default_factory=dict)
    """Its own settings."""
    differs: tuple[str, ...] = ()
    """Further fields or sections in which its recipe may differ from the plan's; its method may in any case."""
    sweep: Mapping[str, tuple[Any, ...]] | None = None
    """Values to try of each field, all combinations; null: the plan's."""
    scores: tuple[str, ...] | None = None
    """The scores that it is trained on; null: all of the plan."""
    group: str = ""
    """Cells of a group share their charts, with the reference in each."""


class Judging(Section):
    """Held-out prompts and start noises."""

    name: str
    """A registered list."""
    path: str | None = None
    """A prompt file; overrides `name`."""
    prompts: Count = 144
    """Number of prompts, spread evenly over the list."""
    images: Images = 2
    """Images of every prompt."""
    noise_seed: Seed = 0
    """Of the start noises."""


class Claim(Section):
    """A statement about two cells that the results confirm, weaken or refute."""

    statement: str
    """In words."""
    cell: str
    """The cell that is said to be better."""
    against: str
    """The cell that it is compared with."""
    kind: Literal["final", "equal_score", "speed"] = "final"
    """final: difference at the end; equal_score: the same where both have the same training score; speed: cost at which
    `against` is at its best, over the cost at which `cell` reaches that score."""
    metric: str = "reward"
    """Which score, or diversity; `speed` is always about the training score."""
    axis: Axis = "images"
    """Which cost, for `speed`."""
    at_least: Threshold | None = None
    """The claimed size; null: any above 0, for `speed` above 1. Below 0: `cell` loses no more than this."""
    scores: tuple[str, ...] | None = None
    """On which training scores; null: all that both cells have."""


class Plan(Section):
    """What is compared. A run is a cell, trained on a score, with a seed; all runs have the same budget."""

    name: Label
    """Of the results and their page."""
    title: str
    """Heading of the page."""
    about: str = ""
    """What the page says below its heading."""
    recipe: str = "shapes"
    """What all cells start from."""
    changes: Changes = Field(default_factory=dict)
    """Changes to it, for all cells."""
    scores: Mapping[Label, Trained] = Field(default_factory=dict)
    """What is trained on, by name; every cell is trained on each. Empty: what the recipe trains on."""
    cells: Mapping[Label, Cell] = Field(min_length=1)
    """What is compared, by name."""
    reference: str = ""
    """The cell that the others are compared with; empty: the first."""
    budget: Budget
    """Network evaluations of a run: 1 for a row forward, `trained_cost` for a row forward and backward."""
    trained_cost: Positive | None = None
    """null: 3 with all weights (measured on `shapes`: 2.97), 2.12 with LoRA (of SD3.5-Medium; the base is frozen)."""
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    """Of the final runs; a number n means 0 to n - 1."""
    sweep: Mapping[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Values to try of each field, all combinations, in every cell that has no sweep of its own."""
    tuning_seeds: tuple[Seed, ...] = Field(default=(1000,), min_length=1)
    """Of the runs that choose from the sweep."""
    evaluations: Count = 5
    """Points of a curve after its start."""
    validation: Judging = Judging(name="shapes-validation")
    """What the sweep is judged on."""
    test: Judging = Judging(name="shapes-test", noise_seed=2026)
    """What the final runs are judged on, and nothing else."""
    levels: tuple[Threshold, ...] = ()
    """Training scores whose cost is shown; empty: quarters of the best rise."""
    claims: tuple[Claim, ...] = ()
    """What is to be confirmed or refuted."""
    jobs: Processes | None = None
    """Runs at a time; null: one for each GPU, or for each core."""
    keep_checkpoints: bool = False
    """Whether the weights of a finished run stay in its folder."""

    @model_validator(mode="before")
    @classmethod
    def _count_of_seeds(cls, raw: Any) -> Any:
        """A number of seeds as the seeds themselves."""
        if isinstance(raw, dict) and isinstance(seeds := raw.get("seeds"), int):
            return {**raw, "seeds": tuple(range(seeds))}
        return raw

    @property
    def reference_cell(self) -> str:
        """Name of the cell that the others are compared with."""
        return self.reference or next(iter(self.cells))

    def metrics(self, score: str) -> list[str]:
        """What is measured where this is trained on: the training score, its parts, unseen scores, diversity."""
        trained, unseen = titles(self.scores[score].reward), titles(self.scores[score].unseen)
        parts = trained if len(trained) > 1 else []
        return [TRAINING_SCORE, *parts, *unseen, *(["diversity"] if self.test.images > 1 else [])]

    def scores_of(self, cell: str) -> list[str]:
        """Names of the scores that a cell is trained on."""
        own = self.cells[cell].scores
        return [name for name in self.scores if own is None or name in own]

    def sweep_of(self, cell: str) -> Mapping[str, tuple[Any, ...]]:
        """Values to try in a cell."""
        own = self.cells[cell].sweep
        return self.sweep if own is None else own


def titles(entries: Iterable[Any]) -> list[str]:
    """Names of scores, as evaluations know them."""
    return [RewardConfig.model_validate(entry).title for entry in expanded(list(entries))]


def load_plan(arguments: Iterable[str]) -> Plan:
    """The plan of a command line: PLAN.yaml first or not at all, then `field=value` with YAML values.

    `methods=a,b` stands for a cell of each method. Raises ConfigError with all problems.
    """
    arguments = list(arguments)
    has_file = bool(arguments) and "=" not in arguments[0]
    source = arguments[0] if has_file else "the command line"
    raw = _read(Path(source)) if has_file else {"name": "quick", "title": "A quick comparison"}
    problems = []
    for text in arguments[has_file:]:
        key, equals, value = text.partition("=")
        if not equals:
            problems.append(f"{text!r}: changes to a plan look like field=value")
            continue
        try:
            raw.update(_method_cells(value) if key == "methods" else {key: parse_yaml(value)})
        except BadDocument as error:
            problems.append(f"{text!r}: not valid YAML: {error}")
    if problems:
        raise ConfigError(source, problems)
    try:
        plan = Plan.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(source, explain(error, Plan)) from None
    return plan if plan.scores else plan.model_copy(update={"scores": _scores_of_recipe(plan)})


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror}); give a plan, or methods=fdfo,..."]) from None
    except (UnicodeDecodeError, BadDocument) as error:
        raise ConfigError(str(path), [f"not valid YAML: {error}"]) from error
    if not isinstance(raw, dict):
        raise ConfigError(str(path), [f"expected fields such as 'cells:' at the top level, got {type(raw).__name__}"])
    return raw


def _method_cells(names: str) -> dict[str, Any]:
    """A cell for each method, from its recipe for the embedded model where there is one."""
    cells: dict[str, Any] = {}
    for name in names.split(","):
        recipe = f"shapes-{name.replace('_', '-')}"
        if recipe in recipe_names():
            cells[name] = {"recipe": recipe, "differs": ["prompts.pairs_per_epoch", "optim"]}
        else:
            cells[name] = {"changes": {"method.name": name}}
    return {"cells": cells}


def _scores_of_recipe(plan: Plan) -> dict[str, Trained]:
    """What the plan's recipe trains on and watches, under the name of its first score."""
    config = load_config(plan.recipe, nested(plan.changes))
    label = re.sub(r"[^A-Za-z0-9_.+-]", "-", config.reward[0].title).lstrip("_.+-")
    reward, unseen = (
        tuple(entry.model_dump(mode="json") for entry in entries) for entries in (config.reward, config.eval.rewards)
    )
    return {label: Trained(reward=reward, unseen=unseen)}


def nested(changes: Changes) -> dict[str, Any]:
    """Values by dotted key as nested sections."""
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        *sections, field = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = value
    return tree
