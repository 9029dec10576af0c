"""From a recipe and `a.b=c` overrides to one checked tree, with every problem reported at once."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar

from pydantic import ValidationError, create_model

from fdfo.config.checks import (
    EMBEDDED,
    cross_field_problems,
    imported_problems,
    machine_problems,
    name_problems,
    score_problems,
)
from fdfo.config.explain import explain
from fdfo.config.keys import keys_of
from fdfo.config.recipe_files import RECIPES, no_recipe, recipe_names
from fdfo.config.section import Section
from fdfo.config.tree import Config, RewardConfig, RewardsOnly
from fdfo.documents import BadDocument, BadSyntax, parse_yaml, yaml_text
from fdfo.errors import ConfigError, PluginError, shown
from fdfo.guard.files import is_file_name
from fdfo.plugins import named, settings_of
from fdfo.shapes import is_of_this_world

S = TypeVar("S", bound=Section)

DEFAULT_RECIPE = "shapes"


def load_config(recipe: str | Path | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Load a recipe (a shipped name, a YAML path, or None for `shapes`), apply overrides, and check everything.

    Overrides are `section.key=value` strings with YAML values, or a nested mapping. Raises ConfigError with all
    problems.
    """
    return from_mapping(*_read_with(recipe, overrides))


def load_typed(recipe: str | Path | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """The same tree without the checks that import torch. Raises ConfigError as `typed`."""
    return typed(*_read_with(recipe, overrides))


def _read_with(recipe: str | Path | None, overrides: Iterable[str] | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The untyped tree, and the name of its source."""
    source = str(recipe or DEFAULT_RECIPE)
    raw = _read(source)
    if not isinstance(overrides, Mapping):
        overrides = _parse_overrides(source, overrides)
    if refused := _other_model(raw, overrides):
        raise ConfigError(source, [refused])
    return _merge(raw, overrides), source


def check_recipe_text(text: str, source: str) -> None:
    """Check types and names of a recipe that is not a file yet. Raises ConfigError with all problems.

    No model, method or score is imported.
    """
    raw = _onto_base(_sections(text.encode(), source), source)
    typed(raw, source)


def _other_model(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> str | None:
    """What is wrong with a recipe of the embedded model for one of another world: all of it is made for its own."""
    before, after = _model_name(recipe), _model_name(changes)
    could_be_one = isinstance(after, str) and ("/" in after or is_file_name(after) or os.path.exists(after))
    if before != EMBEDDED or after == EMBEDDED or not could_be_one or is_of_this_world(Path(after)):
        return None
    return (
        f"policy.name={after}: this recipe trains the embedded model, at its size, on its captions and its scores; "
        f"write one for yours: fdfo init my.yaml --model {quote(after)} --prompts FILE --reward NAME"
    )


def _model_name(tree: Mapping[str, Any]) -> Any:
    policy = tree.get("policy")
    return policy.get("name") if isinstance(policy, Mapping) else None


def from_mapping(raw: Mapping[str, Any], source: str, *, check_machine: bool = True) -> Config:
    """The checked tree of a nested mapping, such as a saved `config.yaml`. Raises ConfigError with all problems.

    What `typed` finds comes first, before torch is imported. With `check_machine` false, whether the prompt lists,
    scores, trackers and so on are installed here is not asked: a report of a run needs none of them.
    """
    config = typed(raw, source, check_machine=check_machine)
    problems = [*score_problems(raw)] if check_machine else []
    problems += imported_problems(config, check_machine=check_machine)
    if problems:
        raise ConfigError(source, problems, tree=config)
    return config


def typed(raw: Mapping[str, Any], source: str, *, check_machine: bool = True) -> Config:
    """The typed tree: keys, values, names and their combinations are right; no method or score of ours is imported.

    Raises ConfigError with all problems.
    """
    raw = {str(key): value for key, value in raw.items()}
    problems: list[str] = []
    found = _method(raw.pop("method", None), problems)
    method = found or Section()
    raw["prompts"] = _with_lists(raw, problems)
    config = _validated(Config, {**raw, "method": method}, problems, all_keys(type(method)))
    problems += name_problems(raw) if check_machine else []
    if config is not None:
        problems += cross_field_problems(config) if found is not None else []
        problems += machine_problems(config) if check_machine else []
    if problems or config is None:
        raise ConfigError(source, problems)
    return config


def _with_lists(raw: Mapping[str, Any], problems: list[str]) -> Any:
    """The section of prompts, with the embedded model's own lists for that model; any other needs its own.

    Where somebody's own prompts are trained on, and none are named to judge by, a part of them is set aside.
    """
    prompts, policy = raw.get("prompts") or {}, raw.get("policy") or {}
    if not isinstance(prompts, Mapping) or not isinstance(policy, Mapping):
        return prompts
    trains = prompts.get("path") or prompts.get("name")
    judges = prompts.get("eval_path") or prompts.get("eval_name")
    if policy.get("name", EMBEDDED) == EMBEDDED:
        lists = {} if trains else {"name": "shapes-train"}
        is_own = trains not in (None, "shapes-train")
        return {**prompts, **lists, **({} if judges or is_own else {"eval_name": "shapes-validation"})}
    if not trains:
        problems.append("prompts: name those to train on, as prompts.path=my_prompts.txt or prompts.name=LIST")
    return prompts


def reward_entries(listed: Iterable[Any], source: str) -> tuple[RewardConfig, ...]:
    """Scores outside a run: names or sections, presets replaced, checked as those of a run.

    Raises ConfigError with all problems.
    """
    raw = {"reward": list(listed)}
    problems = score_problems(raw)
    try:
        entries = RewardsOnly.model_validate(raw).reward
    except ValidationError as error:
        raise ConfigError(source, explain(error, RewardsOnly) + problems) from None
    if problems:
        raise ConfigError(source, problems)
    return entries


def to_yaml(config: Config) -> str:
    """The resolved tree as YAML that `load_config` reads back to an equal tree."""
    return yaml_text(config.model_dump(mode="json"))


def config_hash(config: Config) -> str:
    """Short digest of the resolved tree."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(source: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe merged onto its base; `above` are the recipes that this one is the base of."""
    if source in above:
        raise ConfigError(above[0], [f"base: {' -> '.join((*above, source))} goes round in a circle; remove one base"])
    path = Path(source)
    if source in recipe_names():
        raw = deepcopy(_shipped(source))
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        raw = _sections(path.read_bytes(), source)
    else:
        raise ConfigError(source, [no_recipe(path, recipe_names())])
    return _onto_base(raw, source, above)


@cache
def _shipped(name: str) -> dict[str, Any]:
    """A recipe of ours as it is written; a comparison reads one for every run."""
    return _sections((RECIPES / f"{name}.yaml").read_bytes(), name)


def _sections(content: bytes, source: str) -> dict[str, Any]:
    """The content of a recipe file. Raises ConfigError."""
    try:
        raw = parse_yaml(content.decode("utf-8")) or {}
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(source, [f"line {line} is not UTF-8; save the file as UTF-8"]) from error
    except BadDocument as error:
        raise ConfigError(source, [f"not valid YAML: {error}"]) from error
    if not isinstance(raw, dict):
        raise ConfigError(source, [f"expected sections such as 'method:' at the top level, got {type(raw).__name__}"])
    return raw


def _onto_base(raw: dict[str, Any], source: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    base = raw.pop("base", None)
    if base is None:
        return raw
    below = _read(str(base), (*above, source))
    if refused := _other_model(below, raw):
        raise ConfigError(source, [refused])
    return _merge(below, raw)


def _parse_overrides(source: str, overrides: Iterable[str]) -> dict[str, Any]:
    """The nested mapping of `section.key=value` texts, the later ones on top. Raises ConfigError."""
    parsed: dict[str, Any] = {}
    problems = []
    for text in overrides:
        try:
            parsed = _nested(parsed, _override(text))
        except BadDocument as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(source, problems)
    return parsed


def _override(text: str) -> dict[str, Any]:
    """The nested mapping of one `section.key=value`. Raises BadDocument."""
    key, equals, value = text.partition("=")
    if not equals:
        raise BadDocument(f"{shown(text)}: overrides look like section.key=value")
    try:
        content = parse_yaml(value)
    except BadSyntax as error:
        advice = "a text that begins with one of {[&*!|>%@` or holds a colon needs quotes inside: 'key=\"{text}\"'"
        raise BadDocument(f"{key}: cannot read {shown(value)} as YAML: {error}; {advice}") from error
    except BadDocument as error:
        raise BadDocument(f"{key}: cannot read {shown(value)}: {error}") from error
    first, *rest = key.split(".")
    for part in reversed(rest):
        content = {part: content}
    return {first: content}


def _merge(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes win; mappings merge by key; another method starts from its own defaults."""
    is_other = _differs(raw.get("method"), changes.get("method"), "name")
    return _nested({**raw, "method": None} if is_other else raw, changes)


def _nested(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge by key, at every level; of anything else the one above counts."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _nested(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _differs(old: Any, new: Any, key: str) -> bool:
    return isinstance(old, Mapping) and isinstance(new, Mapping) and key in new and old.get(key) != new[key]


def all_keys(*methods: type[Section]) -> list[str]:
    """Dotted keys of the whole tree, with the fields of these methods."""
    fields = dict.fromkeys(name for one in methods for name in one.model_fields)
    return [*keys_of(Config), *(f"method.{name}" for name in fields)]


def _method(raw: Any, problems: list[str]) -> Section | None:
    if not isinstance(raw, Mapping) or "name" not in raw:
        problems.append("method: needs a name, for example method.name=fdfo")
        return None
    raw = {**raw, "name": named("methods", raw["name"])}
    name = str(raw["name"])
    try:
        schema = settings_of(name)
    except PluginError as error:
        problems.append(f"method.name: {error}")
        return None
    except AttributeError:
        problems.append(f"method.name: {name!r} has no Config; accepted: a class of fdfo.interfaces.Method")
        return None
    if is_file_name(name) or name.startswith("python:"):  # whatever its own section calls it
        schema = _renamed(schema, name)
    return _validated(schema, raw, problems, all_keys(schema), "method.")


@cache
def _renamed(schema: type[Section], name: str) -> type[Section]:
    """The section of a method of others under the name by which it is found."""
    return create_model(schema.__name__, __base__=schema, __module__=schema.__module__, name=(Literal[name], name))  # type: ignore[valid-type]


def _validated(
    schema: type[S], raw: Mapping[str, Any], problems: list[str], keys: Sequence[str], prefix: str = ""
) -> S | None:
    """The typed section, without keys that it does not know; None where a value is invalid or missing.

    Adds what is wrong to `problems`; keys are those of the whole tree.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        problems += [f"{prefix}{text}" for text in explain(error, schema, keys)]
        unknown = [one["loc"] for one in error.errors() if one["type"] == "extra_forbidden"]
        error_count = error.error_count()
    known = _without(raw, unknown)
    if len(unknown) < error_count or known == raw:
        return None
    return _validated(schema, known, problems, keys, prefix)  # checks of several fields come after those of single ones


def _without(raw: Any, paths: Iterable[tuple[int | str, ...]], above: tuple[int | str, ...] = ()) -> Any:
    """The same nested mapping without the keys at some paths."""
    if not isinstance(raw, Mapping):
        return raw
    kept = {key: value for key, value in raw.items() if (*above, key) not in paths}
    return {key: _without(value, paths, (*above, key)) for key, value in kept.items()}
