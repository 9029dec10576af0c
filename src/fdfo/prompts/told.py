"""How many prompts there are, in words."""

from collections.abc import Sequence

from fdfo.config.tree import PromptsConfig
from fdfo.prompts import load_prompts
from fdfo.prompts.source import LARGEST_SHARE
from fdfo.records import Prompt
from fdfo.words import count, plural


def prompts_told(
    settings: PromptsConfig, wanted: int, training: Sequence[Prompt], held_out: Sequence[Prompt]
) -> list[str]:
    """A line with the numbers of prompts that are read, trained on and held out; another where one is held out alone.

    wanted is `eval.prompts`, the most that are held out. Raises as `load_prompts`.
    """
    numbers = f"{count(len(training))} to train on, {count(len(held_out))} held out"
    own = settings.eval_path or settings.eval_name
    if own is None:
        read = load_prompts(settings.path, settings.name or "", settings.key)
        lines = [f"{plural(len(read), 'prompt')} read: {numbers}"]
    else:
        lines = [f"{plural(len(training), 'prompt')} to train on, {count(len(held_out))} held out, of {own}"]
    return lines if len(held_out) != 1 else [*lines, f"one held-out prompt gives no interval; {_more(own, wanted)}"]


def _more(own: str | None, wanted: int) -> str:
    """How to hold out two prompts at least."""
    if wanted == 1:
        return "raise eval.prompts"
    if own is not None:
        return f"give more prompts in {own}"
    return f"give {2 * LARGEST_SHARE} prompts or more, or others to judge by in prompts.eval_path"
