"""From a recipe and `a.b=c` overrides to one checked tree, with every problem reported at once."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from fdfo.config.checks import cross_field_problems
from fdfo.config.section import Section
from fdfo.config.tree import Config, RewardConfig
from fdfo.errors import ConfigError, PluginError, nearest
from fdfo.plugins import find

RECIPES = files("fdfo.config") / "recipes"
DEFAULT_RECIPE = "shapes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


def load_config(recipe: str | Path | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Load a recipe (a shipped name, a YAML path, or None for `shapes`), apply overrides, and check everything.

    Overrides are `section.key=value` strings with YAML values, or a nested mapping. Raises ConfigError with all
    problems.
    """
    source = str(recipe or DEFAULT_RECIPE)
    raw = _read(source)
    if not isinstance(overrides, Mapping):
        overrides = _parse_overrides(source, overrides)
    return from_mapping(_merge(raw, overrides), source)


def from_mapping(raw: Mapping[str, Any], source: str) -> Config:
    """Check a nested mapping (a parsed config.yaml) and make the typed tree of it."""
    raw = dict(raw)
    problems: list[str] = []
    method = _method(raw.pop("method", None), problems)
    config: Config | None = None
    try:
        config = Config.model_validate({**raw, "method": method or Section()})
    except ValidationError as error:
        problems += _explain(error, Config)
    problems += _reward_problems(raw)
    if config is not None and method is not None:
        problems += cross_field_problems(config)
    if problems or config is None:
        raise ConfigError(source, problems)
    return config


def to_yaml(config: Config) -> str:
    """The resolved tree as YAML that `load_config` reads back to an equal tree."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_hash(config: Config) -> str:
    """Short digest of the resolved tree."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(source: str) -> dict[str, Any]:
    path = Path(source)
    if source in recipe_names():
        text = (RECIPES / f"{source}.yaml").read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise ConfigError(source, [f"no such recipe; {nearest(source, recipe_names())}, or the path of a YAML file"])
    try:
        raw = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(source, [f"not valid YAML: {error}"]) from error
    if not isinstance(raw, dict):
        raise ConfigError(source, [f"expected sections such as 'method:' at the top level, got {type(raw).__name__}"])
    base = raw.pop("base", None)
    return raw if base is None else _merge(_read(str(base)), raw)


def _parse_overrides(source: str, overrides: Iterable[str]) -> dict[str, Any]:
    overrides = list(overrides)
    problems = [f"{text!r}: overrides look like section.key=value" for text in overrides if "=" not in text]
    if problems:
        raise ConfigError(source, problems)
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist(overrides), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(source, [f"cannot read the overrides {overrides}: {error}"]) from error
    assert isinstance(parsed, dict)
    return {str(key): value for key, value in parsed.items()}


def _merge(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes win; mappings merge by key; another method starts from its own defaults."""
    merged = dict(raw)
    for key, value in changes.items():
        old = merged.get(key)
        if key == "method" and _differs(old, value, "name"):
            old = None
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _differs(old: Any, new: Any, key: str) -> bool:
    return isinstance(old, Mapping) and isinstance(new, Mapping) and key in new and old.get(key) != new[key]


def _method(raw: Any, problems: list[str]) -> Section | None:
    if not isinstance(raw, Mapping) or "name" not in raw:
        problems.append("method: needs a name, for example method.name=fdfo")
        return None
    try:
        schema = find("methods", str(raw["name"])).Config
    except PluginError as error:
        problems.append(f"method.name: {error}")
        return None
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        problems += [f"method.{text}" for text in _explain(error, schema)]
        return None


def _explain(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """One line for every problem, with the dotted key as on the command line."""
    return list(dict.fromkeys(_explain_each(error, schema)))


def _explain_each(error: ValidationError, schema: type[BaseModel]) -> Iterator[str]:
    for item in error.errors():
        parts = [part for part in item["loc"] if not _is_branch_label(part)]
        key = ".".join(map(str, parts))
        if item["type"] == "extra_forbidden":
            yield f"{key}: unknown key; {nearest(str(parts[-1]), _keys_at(schema, parts[:-1]))}"
        elif item["type"] == "value_error":
            yield (
                f"{key}: {item['msg'].removeprefix('Value error, ')}"
                if key
                else item["msg"].removeprefix("Value error, ")
            )
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            yield f"{key}: {message}" + ("" if item["type"] == "missing" else f", got {item['input']!r}")


def _is_branch_label(part: int | str) -> bool:
    """Pydantic names the alternative of a union in the location, such as 'constrained-int' or "literal['auto']"."""
    return isinstance(part, str) and any(mark in part for mark in "-[(")


def _keys_at(schema: Any, parts: list[int | str]) -> list[str]:
    for part in parts:
        if isinstance(part, str):
            schema = _section_in(schema.model_fields[part].annotation)
    return sorted(schema.model_fields)


def _section_in(annotation: Any) -> Any:
    """The section class inside Optional[...], tuple[...] or Annotated[...]."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple) or get_args(annotation):
        return next(_section_in(arg) for arg in get_args(annotation) if arg is not type(None))
    return annotation


def _reward_problems(raw: Mapping[str, Any]) -> list[str]:
    evaluation = raw.get("eval")
    sections = {"reward": raw.get("reward"), "eval.rewards": dict(evaluation).get("rewards") if evaluation else None}
    problems = []
    for key, entries in sections.items():
        for index, entry in enumerate(entries if isinstance(entries, list | tuple) else []):
            try:
                reward = RewardConfig.model_validate({"name": entry} if isinstance(entry, str) else entry)
                problems += [f"{key}.{index}{text}" for text in _option_problems(reward)]
            except ValidationError:
                continue  # reported with the tree
    return problems


def _option_problems(reward: RewardConfig) -> list[str]:
    if ".py:" in reward.name:
        path = Path(reward.name.rpartition(":")[0])
        return [] if path.is_file() else [f".name: no file {str(path)!r}"]
    try:
        accepted = signature(find("rewards", reward.name)).parameters
    except PluginError as error:
        return [f".name: {error}"]
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted.values()):
        return []
    valid = [*accepted, "name", "weight"]
    return [f".{key}: unknown option; {nearest(key, valid)}" for key in reward.options if key not in accepted]
