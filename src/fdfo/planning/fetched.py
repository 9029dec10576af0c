"""What a run reads from the hub or from publishers, told before it does."""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

from fdfo.config.tree import Config, RewardConfig
from fdfo.models.source import EMBEDDED
from fdfo.plugins import BUILT_IN, find

PUBLISHED = "fdfo.prompts.published:"
"""Where the built-in prompt lists are that publishers distribute."""


def fetched(config: Config) -> list[str]:
    """Models and prompt lists that are fetched, unless they are in the cache, each with the key that asks for it."""
    lines = [f"prompts {name} (prompts.{key})" for key, name in _lists(config)]
    if _is_hub_id(config.policy.name):
        lines.append(f"model {config.policy.name} (policy.name)")
    for key, entries in {"reward": config.reward, "eval.rewards": config.eval.rewards}.items():
        for number, entry in enumerate(entries):
            lines += [f"model {model} ({key}.{number}, {entry.title})" for model in _models(entry)]
    return lines


def _lists(config: Config) -> Iterator[tuple[str, str]]:
    prompts = config.prompts
    for key, path, name in (("name", prompts.path, prompts.name), ("eval_name", prompts.eval_path, prompts.eval_name)):
        if path is None and name is not None and BUILT_IN["prompts"].get(name, "").startswith(PUBLISHED):
            yield key, name


def _models(entry: RewardConfig) -> list[str]:
    """Of a built-in score: what its options, or their defaults, name of the hub; a server has its own."""
    if entry.name not in BUILT_IN["rewards"]:
        return []
    defaults = {name: one.default for name, one in signature(find("rewards", entry.name)).parameters.items()}
    options = defaults | entry.options
    if "url" in options:
        return []
    return list(dict.fromkeys(value for value in options.values() if isinstance(value, str) and _is_hub_id(value)))


def _is_hub_id(name: str) -> bool:
    return name not in EMBEDDED and name.count("/") == 1 and not Path(name).exists() and ".py" not in name
