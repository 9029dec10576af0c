"""Calls a reward through the guard, checks the scores that it returns, and explains the errors that it raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.guard.contact import Guard
from fdfo.guard.own import own, own_tensor
from fdfo.rewards.scores import as_scores, failed_kinds, usable
from fdfo.words import plural

OTHER_PLACE = "name another device for it, or a smaller model"
"""What to do where memory does not suffice and there is nothing to divide."""


def checked(
    reward: Callable[..., Any],
    *,
    name: str,
    guard: Guard,
    batch_size: int,
    tracked: bool,
    kept: Tensor,
    failures: dict[str, str],
) -> Callable[..., Tensor]:
    """The reward as a function of images, second images of pairs where it compares, prompts and metadata -> scores [n].

    `tracked`: with their gradient; the images `kept` stay as they are; `failures` is told, by name, what it returned
    instead of finite scores. Raises RewardError with the prompt where the reward raises.
    """

    def judge(*given: Any) -> Tensor:
        *images, prompts, metadata = given
        when = occasion(prompts)

        def ask() -> Tensor:
            if guard.is_ours:
                returned = reward(*given)
            else:
                copies = [own_tensor(one, kept) for one in images]
                returned = reward(*copies, list(prompts), own(list(metadata)))
            return as_scores(returned, name=name, images=images[0], gradient=tracked)

        try:
            scores = guard(when, ask, remedy=_remedy(batch_size, len(prompts)), bounded=True)
        except RewardError as error:
            if when in str(error):
                raise
            raise RewardError(f"{error} ({when})") from error
        if kinds := failed_kinds(scores):
            failures[name] = kinds
        return scores.where(usable(scores), torch.nan)

    return judge


def occasion(prompts: Sequence[str]) -> str:
    """Which images a reward was asked about."""
    return f"on {plural(len(prompts), 'image')}" + (f", the first for {prompts[0][:200]!r}" if prompts else "")


def _remedy(batch_size: int, count: int) -> str:
    """What to do where memory did not suffice for `count` images."""
    smaller = min(batch_size, count) // 2
    return f"try batch_size={smaller}" if smaller else OTHER_PLACE
