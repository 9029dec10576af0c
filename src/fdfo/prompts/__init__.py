"""Where prompts come from: a user's file or a registered list."""

import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from fdfo.config.tree import PromptsConfig
from fdfo.documents import json_problem
from fdfo.errors import PromptError
from fdfo.guard.contact import Guard, is_ours
from fdfo.guard.files import is_file_name
from fdfo.limits import MOST_PROMPTS
from fdfo.plugins import find, names
from fdfo.prompts.files import PromptFile, read_column, read_prompts
from fdfo.prompts.source import ListSource, evenly_spread, part
from fdfo.records import Prompt

__all__ = [
    "ListSource",
    "PromptFile",
    "evenly_spread",
    "held_out_list",
    "load_file_or_list",
    "load_prompts",
    "read_column",
    "read_prompts",
    "training_list",
]


def load_prompts(path: str | None, name: str, key: str | None = None) -> list[Prompt]:
    """The prompts of a file, from its column `key`, or of the registered list `name` where path is None.

    A registered list, or `path/to/file.py:name`, is a function or class without arguments that gives texts,
    {prompt: text, ...} or Prompts. Raises PromptError for one that cannot be used, PluginError for an unknown name.
    """
    if path is not None:
        return list(read_prompts(path, key).prompts)
    found = find("prompts", name)
    if is_ours(found):
        return list(found())
    guard = Guard(f"prompts {name!r}", PromptError)
    return guard("while they were read", lambda: _given_prompts(found(), name))


def _given_prompts(given: Any, name: str) -> list[Prompt]:
    accepted = "one or more texts, {prompt: text, ...} or fdfo.records.Prompt"
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise PromptError(f"prompts {name!r} must give {accepted}, got {given!r:.80}")
    prompts = [_prompt(one, name, accepted) for one in islice(given, MOST_PROMPTS + 1)]
    if not prompts:
        raise PromptError(f"prompts {name!r} must give {accepted}, got none")
    if len(prompts) > MOST_PROMPTS:
        raise PromptError(f"prompts {name!r} gives more than {MOST_PROMPTS} prompts; end the list before")
    return prompts


def _prompt(one: Any, name: str, accepted: str) -> Prompt:
    if isinstance(one, Prompt):
        fields = {**one.metadata, "prompt": one.text}
    else:
        fields = {"prompt": one} if isinstance(one, str) else dict(one) if isinstance(one, Mapping) else {}
    text = fields.get("prompt")
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"prompts {name!r} must give {accepted}, got {one!r:.80}")
    if problem := json_problem(fields):
        raise PromptError(f"prompts {name!r} must give what JSON can hold; of {text!r:.60}: {problem}")
    metadata = {key: value for key, value in fields.items() if key != "prompt"}
    return one if isinstance(one, Prompt) else Prompt(text=text, metadata=metadata)


def training_list(settings: PromptsConfig, set_aside: int) -> list[Prompt]:
    """The prompts to train on, less those that are set aside for evaluation. Raises as `load_prompts`."""
    if _has_own(settings):
        return load_prompts(settings.path, settings.name or "", settings.key)
    return _parted(settings, set_aside)[0]


def held_out_list(settings: PromptsConfig, set_aside: int) -> list[Prompt]:
    """The prompts to evaluate on: a list of their own, or else some `set_aside`. Raises as `load_prompts`."""
    if _has_own(settings):
        return load_prompts(settings.eval_path, settings.eval_name or "", settings.key)
    return _parted(settings, set_aside)[1]


def _has_own(settings: PromptsConfig) -> bool:
    return settings.eval_path is not None or settings.eval_name is not None


def _parted(settings: PromptsConfig, count: int) -> tuple[list[Prompt], list[Prompt]]:
    return part(load_prompts(settings.path, settings.name or "", settings.key), count)


def load_file_or_list(text: str, key: str | None = None) -> list[Prompt]:
    """The prompts of a registered list of this name, or else of this file. Raises as `load_prompts`."""
    if (
        text not in names("prompts")
        and not is_file_name(text)
        and ("/" in text or Path(text).suffix != "" or os.path.exists(text))
    ):
        return list(read_column(text, key).prompts)
    if key is not None:
        raise PromptError(f"--key {key}: {text} is a list of its own, not a file with columns; leave it out")
    return load_prompts(None, text)
