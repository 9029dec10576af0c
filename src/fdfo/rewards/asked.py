"""The scores of a run that ask people. They see all pairs of an epoch and need the run folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fdfo.rewards.pairwise import pairs_of


def asks_people(reward: Any) -> bool:
    """Whether a reward asks people."""
    return getattr(reward, "asks_people", False)


class Asked:
    """The rewards that ask people, by name; most runs have none."""

    def __init__(self, rewards: Mapping[str, Any], margins: Mapping[str, float | None]):
        """margins: where a reward is asked only for pairs that the others leave open."""
        self._rewards = {name: reward for name, reward in rewards.items() if asks_people(reward)}
        self.has_others = len(self._rewards) < len(rewards)
        """Whether there are scores that ask nobody."""
        self._at_once = [reward for name, reward in self._rewards.items() if margins[name] is None]

    @property
    def names(self) -> list[str]:
        """Names of these rewards. NaN in their scores means that a person skipped the pair; that is no failure."""
        return list(self._rewards)

    def attend(self, run: Path, rank: int, size: int, say: Callable[[str], None]) -> None:
        """Give them the run folder, before the first image. Raises RewardError."""
        for reward in self._rewards.values():
            reward.attend(run, rank, size, say, has_others=self.has_others)

    def expect(self, images: Tensor, prompts: Sequence[str], group_size: int, total: int) -> None:
        """Show images [B, 3, H, W] of an epoch of `total`, which will be scored when all are there."""
        first, second = pairs_of(len(images), group_size)
        for reward in self._at_once:
            reward.expect(images[first], images[second], [prompts[i] for i in first], total * (group_size - 1) // 2)

    def weigh(self, name: str, undecided: Tensor | None) -> None:
        """Tell one of them which of the pairs that it is asked for next the other scores cannot decide, [Q] bool."""
        self._rewards[name].weigh(undecided)

    def warnings(self) -> list[str]:
        """Current warnings about the answers."""
        found = [getattr(reward, "warning", None) for reward in self._rewards.values()]
        return [text for text in found if text]

    def leave(self) -> None:
        """End the questions: the run is over."""
        for reward in self._rewards.values():
            reward.leave()
