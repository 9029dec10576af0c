"""Everything that is wrong with a plan, found before the first run, each with its fix."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fdfo.comparison.cells import JUDGED, OWNED, SCORED, Configurations, Run, first_setting, planned_settings
from fdfo.comparison.plan import Plan
from fdfo.config.tree import Config
from fdfo.errors import ConfigError, FdfoError, nearest
from fdfo.training.setup import check


def refuse_unsound(configurations: Configurations) -> None:
    """Raise ConfigError with all problems of a plan, if it has any."""
    plan = configurations.plan
    problems = [*_names(plan), *_seeds_and_prompts(plan), *_sweeps(plan), *_owned(plan)]
    if not problems:  # else the configurations would only say it again
        problems = list(_configurations(configurations))
    if problems:
        raise ConfigError(f"the plan {plan.name!r}", list(dict.fromkeys(problems)))


def _names(plan: Plan) -> Iterator[str]:
    """Cells and scores that are named and not there."""
    if plan.reference_cell not in plan.cells:
        yield f"reference: no cell {plan.reference!r}; {nearest(plan.reference, list(plan.cells))}"
    named = {f"cells.{name}.scores": cell.scores or () for name, cell in plan.cells.items()}
    named |= {f"claims.{index}.scores": claim.scores or () for index, claim in enumerate(plan.claims)}
    for key, scores in named.items():
        for name in scores:
            if name not in plan.scores:
                yield f"{key}: no score {name!r}; {nearest(name, list(plan.scores))}"
    for index, claim in enumerate(plan.claims):
        for key, name in (("cell", claim.cell), ("against", claim.against)):
            yield from _no_cell(plan, f"claims.{index}.{key}", name)
        for score in claim.scores or plan.scores:
            known = plan.metrics(score) if score in plan.scores else [claim.metric]
            if claim.metric not in known:
                advice = nearest(claim.metric, known)
                yield f"claims.{index}.metric: {claim.metric!r} is not measured where {score} is trained on; {advice}"

    for name, cell in plan.cells.items():
        if cell.one_change_from is not None:
            yield from _no_cell(plan, f"cells.{name}.one_change_from", cell.one_change_from)


def _no_cell(plan: Plan, where: str, name: str) -> Iterator[str]:
    if name not in plan.cells:
        yield f"{where}: no cell {name!r}; {nearest(name, list(plan.cells))}"


def _seeds_and_prompts(plan: Plan) -> Iterator[str]:
    """What would use a seed or the test prompts twice."""
    for key, seeds in (("seeds", plan.seeds), ("tuning_seeds", plan.tuning_seeds)):
        if len(set(seeds)) < len(seeds):
            yield f"{key}: {list(seeds)} holds a seed twice; name each once"
    if both := sorted({*plan.seeds} & {*plan.tuning_seeds}):
        yield f"tuning_seeds: {both} are among the final seeds; tune with seeds that are not reported"
    validation, test = plan.validation, plan.test
    if (validation.path or validation.name) == (test.path or test.name):
        yield "test: the same prompts as validation, which settings are chosen on; use another list"
    if validation.noise_seed == test.noise_seed:
        yield f"test.noise_seed={test.noise_seed}: the same noise as in validation; use another seed"


def _sweeps(plan: Plan) -> Iterator[str]:
    """No method is tuned more than another, but for the extension of grids, whose rule is the same for all."""
    for name in plan.cells:
        for grid in plan.sweep_of(name):
            for key, values in grid.items():
                if not values:
                    yield f"cells.{name}.sweep.{key}: no values; give one or more, or leave the field out"
        if any(not values for grid in plan.sweep_of(name) for values in grid.values()):
            return
    sizes = {name: len(planned_settings(plan, name)) for name in plan.cells}
    common, _ = Counter(sizes.values()).most_common(1)[0]
    for name, size in sizes.items():
        if size != common:
            yield (
                f"cells.{name}.sweep: {size} settings where others try {common}; no cell may be tuned more than "
                "another: give all the same number"
            )


def _owned(plan: Plan) -> Iterator[str]:
    """Settings that a cell or a sweep makes and that are the plan's own."""
    owners = dict.fromkeys(OWNED, "the budget and the seeds decide it")
    owners |= dict.fromkeys(JUDGED, "set it in `validation` and `test`")
    owners |= dict.fromkeys(SCORED, "set it in `scores`")
    written: dict[str, list[str]] = {
        "changes": list(plan.changes),
        "sweep": [key for grid in plan.sweep for key in grid],
    }
    for name, cell in plan.cells.items():
        swept = [key for grid in cell.sweep or () for key in grid]
        written |= {f"cells.{name}.changes": list(cell.changes), f"cells.{name}.sweep": swept}
    for where, keys in written.items():
        for key in keys:
            for field, advice in owners.items():
                if _within(key, field):
                    yield f"{where}.{key}: is the same for all cells; {advice}"


def _configurations(configurations: Configurations) -> Iterator[str]:
    """What is wrong with the configuration of any run."""
    plan = configurations.plan
    try:
        bases = configurations.base
    except ConfigError as error:
        yield from (f"recipe {plan.recipe}, changes, scores: {problem}" for problem in error.problems)
        return
    seen: list[tuple[str, str, list[Config]]] = []
    for name in plan.cells:
        for score in plan.scores_of(name):
            configs: list[Config] = []
            for setting in planned_settings(plan, name):
                run = Run("final", score, name, setting, plan.seeds[0])
                problems, config = _loaded(configurations, run)
                yield from problems
                if config is not None:
                    configs.append(config)
                    yield from _differences(plan, name, bases[score], config)
                    yield from _too_short(configurations, run, config)
            for other, its_score, its_configs in seen:
                if configs and (score, configs) == (its_score, its_configs):
                    yield f"cells.{name}: the same runs as {other}; change one of them, or leave it out"
            seen.append((name, score, configs))
            yield from _one_change(configurations, score, name)


def _loaded(configurations: Configurations, run: Run) -> tuple[list[str], Config | None]:
    """What is wrong with a run, or its configuration."""
    where = f"cells.{run.cell} on {run.score}"
    try:
        config = configurations.load(run)
        check(config)
        configurations.rates(config)
    except ConfigError as error:
        return [f"{where}: {problem}" for problem in error.problems], None
    except FdfoError as error:
        return [f"{where}: {error}"], None
    return [], config


def _one_change(configurations: Configurations, score: str, name: str) -> Iterator[str]:
    """A cell that claims to differ from another in one field differs in exactly one, but for what both sweep.

    Pairs an epoch may follow where that keeps the images of an epoch.
    """
    plan, other = configurations.plan, configurations.plan.cells[name].one_change_from
    if other is None or score not in plan.scores_of(other):
        return
    runs = [Run("final", score, cell, first_setting(plan, cell), plan.seeds[0]) for cell in (other, name)]
    (_, theirs), (_, ours) = (_loaded(configurations, run) for run in runs)
    if ours is None or theirs is None:
        return
    swept = {*plan.swept_fields(name)} & {*plan.swept_fields(other)}
    first, second = (_flat(config.model_dump(mode="json")) for config in (theirs, ours))
    changed = [
        key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key) and key not in swept
    ]
    if configurations.cost(ours).images == configurations.cost(theirs).images:
        changed = [key for key in changed if key != "prompts.pairs_per_epoch"]
    if len(changed) != 1:
        what = ", ".join(changed) or "nothing that is not swept"
        yield (
            f"cells.{name}.one_change_from: it differs from {other} in {what}; change one field at a time (pairs an "
            "epoch may follow, where that keeps the images of an epoch), by way of further cells if need be"
        )


def _differences(plan: Plan, name: str, base: Config, config: Config) -> Iterator[str]:
    """Fields in which a cell differs from what the plan starts from, and does not say so."""
    cell = plan.cells[name]
    said = [*cell.changes, *cell.differs, *plan.swept_fields(name), "train.seed"]
    if base.method.name != config.method.name:  # type: ignore[attr-defined]
        said.append("method")
    ours, theirs = _flat(config.model_dump(mode="json")), _flat(base.model_dump(mode="json"))
    for key in dict.fromkeys([*theirs, *ours]):
        if ours.get(key) != theirs.get(key) and not any(_within(key, field) for field in said) and key not in OWNED:
            yield (
                f"cells.{name}: {key} is {ours.get(key)!r} here and {theirs.get(key)!r} in the plan's recipe "
                f"{plan.recipe}; set it in its changes, or name it in its differs"
            )


def _too_short(configurations: Configurations, run: Run, config: Config) -> Iterator[str]:
    plan, needed = configurations.plan, configurations.epoch_evaluations(config)
    affordable = plan.budget * (plan.tuning_share if plan.sweep_of(run.cell) else 1.0)
    if needed > affordable:
        yield (
            f"cells.{run.cell}: one epoch takes {needed:,.0f} evaluations, more than a run's {affordable:,.0f}; "
            "raise the budget (or tuning_share), or lower prompts.pairs_per_epoch"
        )


def _within(key: str, field: str) -> bool:
    """Whether a dotted key is a field, or one of a section."""
    return key == field or key.startswith(f"{field}.")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields by dotted key; a list is one value."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
