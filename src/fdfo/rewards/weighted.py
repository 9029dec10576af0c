"""Several rewards as one: the weighted sum of checked components.

B images with one prompt each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdfo.errors import FdfoError, RewardError
from fdfo.rewards.build import build_reward
from fdfo.rewards.scores import as_scores
from fdfo.rewards.user import raised_at

if TYPE_CHECKING:
    from fdfo.config.tree import RewardConfig
    from fdfo.interfaces import Reward


class WeightedSum:
    """A Reward made of rewards."""

    def __init__(self, entries: Sequence[RewardConfig]):
        """Build the reward of every entry, without loading anything.

        Raises RewardError with the problems of all entries.
        """
        self.names = _unique([entry.title for entry in entries])
        """Title of every component; the second of the same title is "title#2"."""
        self.weights = [entry.weight for entry in entries]
        self.rewards: list[Reward] = []
        problems = []
        for entry in entries:
            try:
                self.rewards.append(build_reward(entry))
            except FdfoError as error:
                problems.append(str(error))
        if problems:
            raise RewardError("\n".join(problems))
        self.differentiable = all(reward.differentiable for reward in self.rewards)

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Load all of them. Raises RewardError when one cannot be loaded."""
        for name, reward in zip(self.names, self.rewards, strict=True):
            with _blaming(name, "while loading"):
                reward.load(device, dtype)

    def components(
        self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> dict[str, Tensor]:
        """Scores [B] float32 of each reward, by name, on the device of images [B, 3, H, W] in [0, 1].

        NaN marks a failed item: a score that is not finite, or an image that is not. Rewards that are not
        differentiable get a copy of the images, without gradient. Raises RewardError when a reward raises, or returns
        anything but one number per image.
        """
        assert len(images) == len(prompts) == len(metadata) > 0
        valid = images.detach().isfinite().flatten(1).all(1)  # [B]
        scores = {}
        for name, reward in zip(self.names, self.rewards, strict=True):
            tracked = torch.is_grad_enabled() and reward.differentiable
            given = images if reward.differentiable else images.detach().clone()
            when = f"on {len(prompts)} images, the first for {prompts[0][:200]!r}"
            with _blaming(name, when), torch.set_grad_enabled(tracked):
                returned = reward(given, prompts, metadata)
            scores[name] = as_scores(returned, name=name, images=given, gradient=tracked).where(valid, torch.nan)
        return scores

    def total(self, components: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum [B] of what `components` returned; NaN where any of them is."""
        assert self.names
        return torch.stack([w * components[name] for name, w in zip(self.names, self.weights, strict=True)]).sum(0)

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """The weighted sum [B] float32; see `components`."""
        return self.total(self.components(images, prompts, metadata))


def _unique(names: Sequence[str]) -> list[str]:
    seen = Counter[str]()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique


@contextmanager
def _blaming(name: str, when: str) -> Iterator[None]:
    """Name the reward in whatever it raises; running out of memory stays what it is, for callers that try again."""
    try:
        yield
    except (FdfoError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise RewardError(
            f"reward {name!r} failed {when}: {type(error).__name__}: {error}{raised_at(error)}"
        ) from error
