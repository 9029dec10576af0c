"""What the entry of a reward and the reward itself say of how it is asked."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from fdfo.errors import RewardError
from fdfo.guard.contact import Guard, is_ours
from fdfo.rewards.asked import asks_people
from fdfo.rewards.build import Foreign, keeps_time

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig
    from fdfo.interfaces import Reward


def guard_of(name: str, entry: RewardConfig, reward: Reward) -> Guard:
    """One that gives up after the entry's timeout_s, unless the score has such an option itself."""
    timeout_s = None if keeps_time(kind(reward)) else entry.timeout_s
    return Guard(f"reward {name!r}", RewardError, is_ours=is_ours(kind(reward)), timeout_s=timeout_s)


def asks_twice(entry: RewardConfig, reward: Reward) -> bool:
    """Whether a pairwise reward is asked in both orders: as the entry says, else unless both give the same."""
    return not getattr(reward, "antisymmetric", False) if entry.both_orders is None else entry.both_orders


def misplaced(name: str, entry: RewardConfig, reward: Reward) -> list[str]:
    """Fields of an entry that mean nothing for its reward, in words."""
    problems = []
    if entry.both_orders is not None and not is_pairwise(reward):
        problems.append("both_orders is for scores that compare two images; remove it")
    if entry.when is not None and asks_people(reward):
        problems.append("people see all pairs of an epoch; remove when, or give prompts of that kind alone")
    return [f"reward {name!r}: {problem}" for problem in problems]


def is_pairwise(reward: Any) -> bool:
    """Whether it compares two images."""
    return getattr(reward, "pairwise", False)


def numbered(device: torch.device) -> torch.device:
    """`cuda` with the number of this process's card, as tensors on it tell it; other threads may have another one."""
    is_open = device.type == "cuda" and device.index is None
    return torch.device("cuda", torch.cuda.current_device()) if is_open else device


def kind(reward: Reward) -> Any:
    """The function or class that was named."""
    return reward.made_from if isinstance(reward, Foreign) else type(reward)


def batch_size(entry: RewardConfig, reward: Reward) -> int:
    """Images that a reward embeds at a time; 1 where it has no such option."""
    accepted = signature(kind(reward)).parameters
    default = accepted["batch_size"].default if "batch_size" in accepted else 1
    size = entry.options.get("batch_size", default)
    return size if isinstance(size, int) else 1


def in_8bit(entry: RewardConfig) -> bool:
    """Whether its network is kept in 8 bits."""
    return entry.options.get("quantize") == "8bit"
