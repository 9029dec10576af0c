"""Errors that a user can cause. Each message says what was received, what is accepted and the smallest fix."""

import re
import signal
from collections.abc import Iterable
from typing import Any

from fdfo.words import plural


class FdfoError(Exception):
    """Base of every error that is shown to a user as one message without a traceback."""


class Interrupted(Exception):
    """The user or the system asked the run to stop; carries the signal number."""

    def __init__(self, signal_number: int):
        self.signal_number = signal_number
        super().__init__(signal.Signals(signal_number).name)


def said(error: BaseException) -> str:
    """The text of an error, whose own code may fail."""
    try:
        return str(error)
    except BaseException as another:
        return f"its text cannot be read ({type(another).__name__})"


def first_line(error: BaseException) -> str:
    """What an error of a library says, without the pages that may follow; its type where it says nothing."""
    return next(iter(said(error).strip().splitlines()), type(error).__name__)


def shown(value: object, most_characters: int = 80) -> str:
    """A value as a message quotes it: its beginning, where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number that Python refuses to print
        return "a number of thousands of digits"
    return text if len(text) <= most_characters else text[:most_characters] + "..."


class ConfigError(FdfoError):
    """The configuration cannot be used; `problems` lists everything that is wrong with it, one line each.

    `tree` is the configuration without its unknown keys, for further checks, where every value is valid by itself.
    The message shows the first `most` problems, counts all of them, and ends with `advice` that holds for all.
    """

    def __init__(
        self, source: str, problems: list[str], tree: Any = None, *, advice: str | None = None, most: int | None = None
    ):
        self.source, self.problems, self.tree = source, problems, tree
        lines = [f"  - {problem}" for problem in problems[:most]]
        if most is not None and len(problems) > most:
            lines.append(f"  - and {len(problems) - most} more like these")
        if advice is not None:
            lines.append(f"  {advice}")
        super().__init__("\n".join([f"{plural(len(problems), 'problem')} in {source}", *lines]))


class PluginError(FdfoError):
    """A method, model, reward or prompt list could not be found or does not fit its protocol."""


class ModelError(FdfoError):
    """A model cannot be found, read or used as asked."""


class SettingError(ModelError):
    """A setting of the configuration does not fit the model, which only shows once that is loaded."""


class RewardError(FdfoError):
    """A reward failed in a way that must stop the run."""


class PromptError(FdfoError):
    """A prompt file is missing, empty or malformed."""


class CheckpointError(FdfoError):
    """A checkpoint or run folder cannot be read, written or continued."""


class BusyError(FdfoError):
    """Another process writes where this one is asked to."""


class PeerError(FdfoError):
    """Another process of the run failed; that process shows the reason."""


class LostPeerError(FdfoError):
    """Another process of the run is gone, or does not answer in time, and cannot tell why."""


def install_advice(*packages: str) -> str:
    """How to get packages into the environment that runs, whether it is active or not, and in a clone as well."""
    import shlex
    import sys

    return f"install it: {shlex.quote(sys.executable)} -m pip install {' '.join(packages)}"


OTHER_NAMES = frozenset(
    ("raft", "dpo", "d3po", "ppo", "grpo", "dancegrpo", "mixgrpo", "spo", "rwr", "reinforce", "rloo", "sdxl")
)
"""Names of the field that stand for nothing here: no misspellings, however near they look."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A suggestion to append to a message: the valid name that is meant, or all of them."""
    valid = sorted(valid)
    found = meant(name, valid)
    return f"valid: {', '.join(valid)}" if found is None else f"did you mean {found!r}?"


def meant(name: str, valid: Iterable[str]) -> str | None:
    """The valid name of which `name` is a part or a misspelling, or None.

    A misspelling keeps the first letter and all digits, which tell models, cards and versions apart.
    """
    from difflib import SequenceMatcher

    valid, words = sorted(valid), _words(name)
    whole = [one for one in valid if set(words) <= set(_words(one))]
    if name.lower() in OTHER_NAMES and not whole:
        return None
    alike = {
        one: SequenceMatcher(None, "".join(words), "".join(_words(one))).ratio()
        for one in valid
        if one[:1].lower() == name[:1].lower() and re.findall(r"\d", one) == re.findall(r"\d", name)
    }
    best = max(alike, key=lambda one: alike[one], default=None)
    if best is not None and alike[best] >= LEAST_LIKENESS:
        return best
    return whole[0] if words and len(whole) == 1 else None


LEAST_LIKENESS = 0.74
"""Least likeness of a misspelling: two letters of four may have changed places."""


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.lower())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no room; a library of CUDA and pinned host memory say so in their own words."""
    text = said(error)
    own = "CUDA error: out of memory" in text or "ALLOC_FAILED" in text
    return type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and own)
