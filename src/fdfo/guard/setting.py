"""What a setting of the process, or of a thread, is to the guard."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """How to read a setting, and how to make it what it was."""

    read: Callable[[], Any]
    put: Callable[[Any], Any]


def attribute(owner: Any, name: str) -> Setting:
    """One that is an attribute of a module or an object."""
    return Setting(lambda: getattr(owner, name), lambda before: setattr(owner, name, before))
