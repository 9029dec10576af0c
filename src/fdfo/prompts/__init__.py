"""Where prompts come from: a user's file or a registered list."""

from collections.abc import Sequence
from pathlib import Path

from fdfo.errors import PromptError
from fdfo.plugins import find, names
from fdfo.prompts.files import PromptFile, read_column, read_prompts
from fdfo.prompts.source import ListSource, evenly_spread
from fdfo.records import Prompt

__all__ = [
    "ListSource",
    "PromptFile",
    "evenly_spread",
    "load_file_or_list",
    "load_prompts",
    "read_column",
    "read_prompts",
]


def load_prompts(path: str | None, name: str, key: str | None = None) -> list[Prompt]:
    """The prompts of a file, from its column `key`, or of the registered list `name` where path is None.

    A registered list is a function without arguments that returns prompts. Raises PromptError for a file or list that
    cannot be used, PluginError for an unknown name.
    """
    if path is not None:
        return list(read_prompts(path, key).prompts)
    prompts = find("prompts", name)()
    if not isinstance(prompts, Sequence) or not prompts or not all(isinstance(prompt, Prompt) for prompt in prompts):
        raise PromptError(f"prompt list {name!r} must return one or more fdfo.records.Prompt, got {prompts!r:.80}")
    return list(prompts)


def load_file_or_list(text: str, key: str | None = None) -> list[Prompt]:
    """The prompts of a registered list of this name, or else of this file. Raises as `load_prompts`."""
    if text not in names("prompts") and ("/" in text or Path(text).suffix != "" or Path(text).exists()):
        return list(read_column(text, key).prompts)
    if key is not None:
        raise PromptError(f"--key {key}: {text} is a list of its own, not a file with columns; leave it out")
    return load_prompts(None, text)
