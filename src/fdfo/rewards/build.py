"""Builds the reward of an entry of the configuration: a registered one, or a user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isclass, signature
from typing import TYPE_CHECKING, Annotated, Any, get_origin, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.guard.contact import Guard, is_ours
from fdfo.interfaces import Reward
from fdfo.plugins import find
from fdfo.rewards.arguments import IMAGES, PAIRS, caller

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig

ASKING = ("attend", "expect", "weigh", "leave")
"""Methods of a score that asks people."""

_FUNCTION = "def score(images, prompts, metadata)"
_PAIRWISE_FUNCTION = "def prefer(first, second, prompts, metadata)"


def build_reward(entry: RewardConfig) -> Reward:
    """The reward of one entry, not loaded yet; its options go to the constructor.

    The name is a registered one or `path/to/file.py:name`, and stands for a class of the Reward protocol, an object of
    it, or a plain function score(images, prompts, metadata). A function gets the options as keyword arguments with
    every call, and can be differentiated if it has an attribute `differentiable = True`. With `pairwise = True`, any
    of these takes (first, second, prompts, metadata) and returns preferences for the first images (pairwise.py).
    Raises PluginError for an unknown name, RewardError for everything else that cannot be used, with the fix.
    """
    found = find("rewards", entry.name)
    what = f"reward {entry.name!r}"
    options = entry.options | ({"timeout_s": entry.timeout_s} if entry.timeout_s and keeps_time(found) else {})
    guard = Guard(what, RewardError, is_ours=is_ours(found))
    return guard("while it was made", lambda: _made(found, options, what))


def _made(found: Any, options: Mapping[str, Any], what: str) -> Any:
    if isclass(found):
        thing = _construct(found, options, what)
        return thing if is_ours(found) else Foreign(thing, found, {}, what, needs_load=True)
    if hasattr(found, "load") and options:
        raise RewardError(f"{what}: an object takes no options, got {', '.join(options)}; name its class")
    if not callable(found):
        raise RewardError(f"{what} is a {type(found).__name__}; accepted: {_FUNCTION}, or a class of fdfo's Reward")
    return Foreign(found, found, options, what, needs_load=hasattr(found, "load"))


def keeps_time(found: Any) -> bool:
    """Whether a function or class has an option timeout_s of its own, and so keeps to the time by itself."""
    try:
        return "timeout_s" in signature(found).parameters
    except (TypeError, ValueError):
        return False


class Foreign:
    """Makes a user's function, or object of the full protocol, a Reward."""

    def __init__(self, thing: Any, made_from: Any, options: Mapping[str, Any], what: str, *, needs_load: bool):
        """`made_from` is what was named: a class, or the thing itself.

        A function, which needs no load, gets the options with every call. Raises RewardError that lists all that is
        missing.
        """
        self.thing, self.made_from, self._needs_load = thing, made_from, needs_load
        self.pairwise = bool(getattr(thing, "pairwise", False))
        self.remote = bool(getattr(thing, "remote", False))
        self.asks_people = bool(getattr(thing, "asks_people", False))
        self.antisymmetric = bool(getattr(thing, "antisymmetric", False))
        self.differentiable = getattr(thing, "differentiable", None if needs_load else False)
        problems = []
        if not isinstance(self.differentiable, bool):
            problems.append("no attribute 'differentiable' that is True or False")
        if self.asks_people:
            lacking = [name for name in ASKING if not callable(getattr(thing, name, None))]
            problems += [f"asks_people needs {', '.join(lacking)}, as fdfo.rewards.human.Human has"] if lacking else []
        if needs_load and not callable(getattr(thing, "load", None)):
            problems.append("no method load(device, dtype)")
        try:
            self._call: Callable[..., Any] = caller(thing, PAIRS if self.pairwise else IMAGES, options)
        except (TypeError, ValueError) as error:  # not callable, other arguments, or a built-in without a signature
            arguments = ", ".join([*(PAIRS if self.pairwise else IMAGES), *(f"{key}=..." for key in options)])
            define = _PAIRWISE_FUNCTION if self.pairwise else _FUNCTION
            problems.append(f"cannot be called with ({arguments}): {error}; define it as {define}")
        if problems:
            raise RewardError(f"{what}: " + "; ".join(problems))

    def __getattr__(self, name: str) -> Any:
        """What only some scores have, such as networks, or image_features."""
        return getattr(self.thing, name)

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Load the user's object; a plain function has nothing to load."""
        if self._needs_load:
            self.thing.load(device, dtype)

    def __call__(self, *arguments: Any) -> Tensor:
        return self._call(*arguments)


def _construct(cls: type, options: Mapping[str, Any], what: str) -> Any:
    try:
        signature(cls).bind(**options)
    except TypeError as error:
        accepted = ", ".join(signature(cls).parameters) or "none"
        raise RewardError(f"{what}: {error}; its options: {accepted}") from error
    thing = cls(**options)
    if problems := _out_of_bounds(cls, options) if is_ours(cls) else []:
        raise RewardError(f"{what}: " + "; ".join(problems))
    return thing


def _out_of_bounds(cls: type, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with numbers, by the bounds of the constructor's types."""
    types = get_type_hints(cls.__init__, include_extras=True)
    problems = []
    for key in options:
        if get_origin(types[key]) is Annotated:
            try:
                TypeAdapter(types[key]).validate_python(options[key])
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                problems.append(f"{key}: {message[0].lower()}{message[1:]}, got {options[key]!r}")
    return problems
