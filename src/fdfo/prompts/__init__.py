"""Where prompts come from: a user's file or a registered list."""

from collections.abc import Sequence

from fdfo.errors import PromptError
from fdfo.plugins import find
from fdfo.prompts.files import PromptFile, read_prompts
from fdfo.prompts.source import ListSource, evenly_spread
from fdfo.records import Prompt

__all__ = ["ListSource", "PromptFile", "evenly_spread", "load_prompts", "read_prompts"]


def load_prompts(path: str | None, name: str) -> list[Prompt]:
    """The prompts of a file, or of the registered list `name` where path is None.

    A registered list is a function without arguments that returns prompts. Raises PromptError for a file or list that
    cannot be used, PluginError for an unknown name.
    """
    if path is not None:
        return list(read_prompts(path).prompts)
    prompts = find("prompts", name)()
    if not isinstance(prompts, Sequence) or not prompts or not all(isinstance(prompt, Prompt) for prompt in prompts):
        raise PromptError(f"prompt list {name!r} must return one or more fdfo.records.Prompt, got {prompts!r:.80}")
    return list(prompts)
