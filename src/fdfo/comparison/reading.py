"""Reading a plan from a file and a command line."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fdfo.comparison.plan import Plan, Trained, nested
from fdfo.config.explain import explain
from fdfo.config.load import load_config, recipe_names
from fdfo.documents import BadDocument, parse_yaml
from fdfo.errors import ConfigError


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
