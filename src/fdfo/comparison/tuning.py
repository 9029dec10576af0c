"""Choosing a setting: grids one after another, each around the best so far, extended where the best lies at an end.

Everything follows from the plan and the results that are there, so an interrupted search goes on as one that was not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf, isfinite

import numpy as np

from fdfo.comparison.cells import Run, Setting
from fdfo.comparison.curves import at_budget, at_steps
from fdfo.comparison.plan import TRAINING_SCORE, Grid, Plan, Value
from fdfo.comparison.results import Result

Means = Mapping[Setting, float]
"""Score of a setting over all tuning seeds; minus infinite where a run failed; missing where one is not done."""

Allowed = Callable[[Setting], bool]
"""Whether a setting can be run at all: a field may have an end of its own."""


@dataclass(frozen=True)
class Search:
    """How far the tuning of one cell on one score has come."""

    wanted: list[Setting] = field(default_factory=list)
    """Settings that are to be tried next; none: it has ended."""
    chosen: Setting | None = None
    """The best setting at its end; None: not there yet, or every run failed."""
    edges: list[str] = field(default_factory=list)
    """Fields whose chosen value is the lowest or highest that was tried, though another could be."""


def search(sweep: Sequence[Grid], extensions: int, means: Means, allowed: Allowed) -> Search:
    """What to try next, or what was found."""
    best: Setting = ()
    edges: list[str] = []
    for grid in sweep:
        around = _Around(grid, best, allowed)
        left = {(key, end): extensions for key in grid for end in (0, -1)}
        while True:
            missing = [one for one in around.tried if one not in means]
            if missing:
                return Search(wanted=missing)
            best = max(around.tried, key=lambda one: means[one])  # the first of equals
            if means[best] == -inf:
                return Search()
            beyond = around.beyond(best)
            more = [(key, end, one) for (key, end), one in beyond.items() if left[key, end] > 0]
            if not more:
                edges = [*(key for key in edges if key not in grid), *dict.fromkeys(key for key, _ in beyond)]
                break
            for key, end, one in more:
                left[key, end] -= 1
                around.tried.append(one)
    return Search(chosen=best, edges=edges)


class _Around:
    """The settings of one grid around the best of those before."""

    def __init__(self, grid: Grid, best: Setting, allowed: Allowed):
        self.grid, self.allowed = grid, allowed
        combined = (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
        self.tried = [tuple({**dict(best), **values}.items()) for values in combined]
        if best not in self.tried and {*grid} <= {*dict(best)}:
            self.tried.append(best)  # of an earlier grid of these fields: it stays in the running

    def beyond(self, setting: Setting) -> dict[tuple[str, int], Setting]:
        """By field and end (0 the lowest, -1 the highest), the next setting where this one lies at that end.

        Only numbers have ends, and only where there are two; those that the field does not allow have none beyond.
        """
        found = {}
        for key in self.grid:
            value = dict(setting)[key]
            values = sorted({dict(one)[key] for one in self.tried if _is_number(dict(one)[key])})
            for end, (edge, inner) in {0: values[:2], -1: values[:-3:-1]}.items() if len(values) > 1 else ():
                following = _following(edge, inner) if value == edge else None
                if following is not None:
                    changed = tuple({**dict(setting), key: following}.items())
                    if changed not in self.tried and self.allowed(changed):
                        found[key, end] = changed
        return found


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _following(edge: float, inner: float) -> float | None:
    """The value beyond an edge, at the ratio of the last two; None where there is no such ratio."""
    if edge <= 0 or inner <= 0:
        return None
    beyond = float(f"{edge * edge / inner:.6g}")
    if isinstance(edge, int) and isinstance(inner, int):
        beyond = round(beyond)
        return beyond if beyond not in (edge, 0) else None
    return beyond


# ---- with results ----


def tuning_runs(plan: Plan, score: str, cell: str, settings: Sequence[Setting]) -> list[Run]:
    """Runs of settings; seed by seed."""
    return [Run("tuning", score, cell, setting, seed) for seed in plan.tuning_seeds for setting in settings]


def ends(results: Sequence[Result], score: str, cell: str) -> dict[Setting, dict[int, float]]:
    """Training score by setting and seed, the mean of that at the budget and that at the steps; minus infinite for a
    run that failed."""
    found: dict[Setting, dict[int, float]] = {}
    for one in results:
        if (one.stage, one.score, one.cell) == ("tuning", score, cell):
            value = -inf
            if one.is_sound:
                value = np.mean([point.values[TRAINING_SCORE] for point in (at_budget(one), at_steps(one))])
            found.setdefault(one.run.setting, {})[one.seed] = float(value) if isfinite(value) else -inf
    return found


def state(plan: Plan, results: Sequence[Result], score: str, cell: str, allowed: Allowed) -> Search:
    """How far the tuning of a cell has come. A choice stands once a final run has been made with it."""
    done = ends(results, score, cell)
    means = {
        setting: float(np.mean([by_seed[seed] for seed in plan.tuning_seeds]))
        for setting, by_seed in done.items()
        if all(seed in by_seed for seed in plan.tuning_seeds)
    }
    found = search(plan.sweep_of(cell), plan.extensions, means, allowed)
    stands = next((one.run.setting for one in _finals(results, score, cell)), None)
    if stands is None or stands == found.chosen:
        return found
    return Search(chosen=stands, edges=[])


def _finals(results: Sequence[Result], score: str, cell: str) -> Iterator[Result]:
    return (one for one in results if (one.stage, one.score, one.cell) == ("final", score, cell))
