"""A plan: which cells are compared, on which scores and seeds, at which cost."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fdfo.config.bounds import (
    Budget,
    Count,
    CountFromZero,
    Guidance,
    Images,
    NonNegative,
    Positive,
    Processes,
    Seed,
    Threshold,
)
from fdfo.config.presets import expanded
from fdfo.config.section import Section
from fdfo.config.tree import RewardConfig

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
"""A name that can be a folder."""

Axis = Literal["steps", "evaluations", "images", "seconds"]
"""What a run costs: optimizer steps, network evaluations, images scored for training, seconds of training."""

TRAINING_SCORE = "reward"
"""Name of the score that a run is trained on, in its evaluations."""

Changes = Mapping[str, Any]
"""Values by dotted key, as `method.steps: 10`."""


def _number(raw: Any) -> Any:
    """YAML reads 1e-4, without a dot, as text."""
    try:
        return float(raw) if isinstance(raw, str) and raw[:1].isdigit() else raw
    except ValueError:
        return raw


Value = Annotated[bool | int | float | str | None, BeforeValidator(_number)]
"""What a sweep can try."""

Grid = Mapping[str, tuple[Value, ...]]
"""Values to try of each field, all combinations."""


def _grids(raw: Any) -> Any:
    """One grid is a sweep of one step."""
    return (raw,) if isinstance(raw, Mapping) else raw


Sweep = Annotated[tuple[Grid, ...], BeforeValidator(_grids)]
"""Grids that are tried one after another, each around the best of those before."""


MOST_SEEDS = 1000
"""Most seeds that a number may stand for."""


def _count_of_seeds(raw: Any) -> Any:
    """A number of seeds as the seeds themselves."""
    return tuple(range(raw)) if isinstance(raw, int) and raw <= MOST_SEEDS else raw


class Trained(Section):
    """What is trained on, and what is watched beside it; entries as in a recipe."""

    reward: tuple[Any, ...]
    """The scores of the weighted sum."""
    unseen: tuple[Any, ...] = ()
    """The scores that are not trained on."""


class Cell(Section):
    """A method with its settings, which the plan compares with others."""

    recipe: str | None = None
    """What it starts from; null: the plan's recipe."""
    changes: Changes = Field(default_factory=dict)
    """Its own settings."""
    differs: tuple[str, ...] = ()
    """Further fields or sections in which its recipe may differ from the plan's; its method may in any case."""
    one_change_from: str | None = None
    """The cell from which it differs in one field, and in nothing else but what both sweep; `prompts.pairs_per_epoch`
    may follow where that keeps the images of an epoch. Anything else is refused."""
    sweep: Sweep | None = None
    """As the plan's, for this cell; null: the plan's."""
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
    """Seed of the start noises."""


class Claim(Section):
    """A statement about two cells that the results confirm, weaken or refute."""

    statement: str
    """In words."""
    cell: str
    """The cell that is said to be better."""
    against: str
    """The cell that it is compared with."""
    kind: Literal["final", "equal_score", "speed"] = "final"
    """final: difference at equal evaluations and at equal steps; equal_score: the same where both have the same
    training score; speed: cost at which `against` is at its best, over the cost at which `cell` reaches that score."""
    metric: str = TRAINING_SCORE
    """Which score, diversity or sharpness; `speed` is always about the training score."""
    axis: Axis = "images"
    """Which cost, for `speed`; optimizer steps are always shown beside it."""
    at_least: Threshold | None = None
    """The claimed size; null: any above 0, for `speed` above 1. Below 0: `cell` loses no more than this."""
    scores: tuple[str, ...] | None = None
    """The training scores that it is about; null: all that both cells have."""


class Prices(Section):
    """What costs more than a row forward through the network, in such rows; null: as measured (prices.py)."""

    trained: Positive | None = None
    """A row forward and backward."""
    decoder_gradient: NonNegative | None = None
    """An image decoded forward and backward, where the score's gradient is taken."""
    score_gradient: NonNegative | None = None
    """The score of an image forward and backward."""


class Plan(Section):
    """What is compared. A run is a cell, trained on a score, with a seed; it goes on until it has spent the budget of
    evaluations and has taken the steps, and is judged at both."""

    name: Label
    """Name of the results and their page."""
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
    """Network evaluations of a run: 1 for a row forward, more for what `prices` names."""
    steps: Count | None = None
    """Optimizer steps of a run; null: as many as every cell takes within the budget."""
    prices: Prices = Prices()
    """Prices, in rows forward, of everything that is not one."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_count_of_seeds), Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Seeds of the final runs; a number n means 0 to n - 1."""
    sweep: Sweep = ()
    """Values to try in every cell that has no sweep of its own."""
    tuning_seeds: Annotated[tuple[Seed, ...], Field(min_length=3)] = (1000, 1001, 1002)
    """Seeds of the tuning runs, which choose from the sweep."""
    tuning_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Length of a tuning run in that of a final one."""
    extensions: CountFromZero = 2
    """How often a grid is extended at either end of a field whose best value lies there."""
    evaluations: Count = 8
    """Points of a curve after its start, beside those at the budget and at the steps."""
    validation: Judging = Judging(name="shapes-validation")
    """What the sweep is judged on."""
    test: Judging = Judging(name="shapes-test", noise_seed=2026)
    """What the final runs are judged on, and nothing else."""
    guidance: tuple[Guidance, ...] = ()
    """The untrained model is judged under each of these as well: the curve that training has to beat."""
    levels: tuple[Threshold, ...] = ()
    """Training scores whose cost is shown; empty: quarters of the best rise."""
    claims: tuple[Claim, ...] = ()
    """What is to be confirmed or refuted."""
    jobs: Processes | None = None
    """Runs at a time; null: one for each GPU, or for each core."""
    keep_checkpoints: bool = False
    """Whether the weights of a finished run stay in its folder."""

    @property
    def reference_cell(self) -> str:
        """Name of the cell that the others are compared with."""
        return self.reference or next(iter(self.cells))

    def metrics(self, score: str) -> list[str]:
        """What is measured where this is trained on: the training score, its parts, unseen scores, diversity,
        sharpness."""
        trained, unseen = titles(self.scores[score].reward), titles(self.scores[score].unseen)
        parts = trained if len(trained) > 1 else []
        diversity = ["diversity"] if self.test.images > 1 else []
        return [TRAINING_SCORE, *parts, *unseen, *diversity, "sharpness"]

    def scores_of(self, cell: str) -> list[str]:
        """Names of the scores that a cell is trained on."""
        own = self.cells[cell].scores
        return [name for name in self.scores if own is None or name in own]

    def cells_on(self, score: str) -> list[str]:
        """Names of the cells that are trained on a score."""
        return [cell for cell in self.cells if score in self.scores_of(cell)]

    def sweep_of(self, cell: str) -> tuple[Grid, ...]:
        """What is tried in a cell."""
        own = self.cells[cell].sweep
        return self.sweep if own is None else own

    def swept_fields(self, cell: str) -> list[str]:
        """Fields that are tried in a cell."""
        return list(dict.fromkeys(key for grid in self.sweep_of(cell) for key in grid))


def titles(entries: Iterable[Any]) -> list[str]:
    """Names of scores, as evaluations know them."""
    return [RewardConfig.model_validate(entry).title for entry in expanded(list(entries))]


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
