"""From an entry of the configuration to a reward: a registered one, or a user's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isclass, signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdfo.errors import FdfoError, RewardError
from fdfo.interfaces import Reward
from fdfo.plugins import find
from fdfo.rewards.user import find_in_file, is_file_name, raised_at

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig

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
    found = find_in_file(entry.name) if is_file_name(entry.name) else find("rewards", entry.name)
    what = f"reward {entry.name!r}"
    reward: Any
    if isclass(found):
        reward = _construct(found, entry.options, what)
    elif hasattr(found, "load"):
        if entry.options:
            raise RewardError(f"{what}: an object takes no options, got {', '.join(entry.options)}; name its class")
        reward = found
    elif callable(found):
        reward = FunctionReward(found, entry.options)
    else:
        raise RewardError(f"{what} is a {type(found).__name__}; accepted: {_FUNCTION}, or a class of fdfo's Reward")
    _check_protocol(reward, what)
    return reward


class FunctionReward:
    """A plain function score(images, prompts, metadata, **options), or one of pairs, as a reward."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]):
        self.function = function
        self.options = options
        self.differentiable = getattr(function, "differentiable", False)
        self.pairwise = getattr(function, "pairwise", False)

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Nothing to load."""

    def __call__(self, *arguments: Any) -> Tensor:
        return self.function(*arguments, **self.options)


def _construct(cls: type, options: Mapping[str, Any], what: str) -> Any:
    try:
        signature(cls).bind(**options)
    except TypeError as error:
        accepted = ", ".join(signature(cls).parameters) or "none"
        raise RewardError(f"{what}: {error}; its options: {accepted}") from error
    try:
        return cls(**options)
    except FdfoError:
        raise
    except Exception as error:
        raise RewardError(f"{what} cannot be made: {type(error).__name__}: {error}{raised_at(error)}") from error


def _check_protocol(reward: Any, what: str) -> None:
    """Raise RewardError that lists all that is missing."""
    problems = []
    if not isinstance(getattr(reward, "differentiable", None), bool):
        problems.append("no attribute 'differentiable' that is True or False")
    if not callable(getattr(reward, "load", None)):
        problems.append("no method load(device, dtype)")
    call, extra = (reward.function, reward.options) if isinstance(reward, FunctionReward) else (reward, {})
    pairwise = getattr(reward, "pairwise", False)
    needed = ["first", "second", "prompts", "metadata"] if pairwise else ["images", "prompts", "metadata"]
    try:
        signature(call).bind(*needed, **extra)
    except (TypeError, ValueError) as error:  # not callable, other arguments, or a built-in without a signature
        arguments = ", ".join([*needed, *(f"{key}=..." for key in extra)])
        define = _PAIRWISE_FUNCTION if pairwise else _FUNCTION
        problems.append(f"cannot be called with ({arguments}): {error}; define it as {define}")
    if problems:
        raise RewardError(f"{what}: " + "; ".join(problems))
