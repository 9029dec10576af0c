"""Everything that is wrong with a plan, found before the first run, each with its fix."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fdfo.comparison.cells import JUDGED, OWNED, SCORED, Configurations, Run, points
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
            if name not in plan.cells:
                yield f"claims.{index}.{key}: no cell {name!r}; {nearest(name, list(plan.cells))}"
        for score in claim.scores or plan.scores:
            known = plan.metrics(score) if score in plan.scores else [claim.metric]
            if claim.metric not in known:
                advice = nearest(claim.metric, known)
                yield f"claims.{index}.metric: {claim.metric!r} is not measured where {score} is trained on; {advice}"


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
    """No method is tuned more than another."""
    for name in plan.cells:
        for key, values in plan.sweep_of(name).items():
            if not values:
                yield f"cells.{name}.sweep.{key}: no values; give one or more, or leave the field out"
    sizes = {name: len(points(plan, name)) for name in plan.cells}
    common, _ = Counter(sizes.values()).most_common(1)[0]
    for name, size in sizes.items():
        if size != common and size:
            yield (
                f"cells.{name}.sweep: {size} settings where others try {common}; no cell may be tuned more than "
                "another: give all the same number"
            )


def _owned(plan: Plan) -> Iterator[str]:
    """Settings that a cell or a sweep makes and that are the plan's own."""
    owners = dict.fromkeys(OWNED, "the budget and the seeds decide it")
    owners |= dict.fromkeys(JUDGED, "set it in `validation` and `test`")
    owners |= dict.fromkeys(SCORED, "set it in `scores`")
    written = {"changes": plan.changes, "sweep": plan.sweep}
    for name, cell in plan.cells.items():
        written |= {f"cells.{name}.changes": cell.changes, f"cells.{name}.sweep": cell.sweep or {}}
    for where, changes in written.items():
        for key in changes:
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
            for point in range(len(points(plan, name))):
                run = Run("final", score, name, point, plan.seeds[0])
                where = f"cells.{name} on {score}"
                try:
                    config = configurations.load(run)
                    check(config)
                except ConfigError as error:
                    yield from (f"{where}: {problem}" for problem in error.problems)
                    continue
                except FdfoError as error:
                    yield f"{where}: {error}"
                    continue
                configs.append(config)
                yield from _differences(plan, name, bases[score], config)
                yield from _too_short(configurations, run, config)
            for other, its_score, its_configs in seen:
                if configs and (score, configs) == (its_score, its_configs):
                    yield f"cells.{name}: the same runs as {other}; change one of them, or leave it out"
            seen.append((name, score, configs))


def _differences(plan: Plan, name: str, base: Config, config: Config) -> Iterator[str]:
    """Fields in which a cell differs from what the plan starts from, and does not say so."""
    cell = plan.cells[name]
    said = [*cell.changes, *cell.differs, *plan.sweep_of(name), "train.seed"]
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
    length = configurations.length(run, config)
    if length.epochs == 0:
        yield (
            f"cells.{run.cell}: one epoch takes {length.needed:,.0f} network evaluations, more than "
            f"budget={configurations.plan.budget:,.0f}; raise the budget, or lower prompts.pairs_per_epoch"
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
