"""From a list of prompts to those of an epoch, and to a small even selection."""

from collections.abc import Sequence
from dataclasses import replace

from fdfo.errors import PromptError
from fdfo.flow.noise import NoiseStreams
from fdfo.records import Prompt


class ListSource:
    """An endless sequence of shuffles of a list, cut into epochs: each prompt is used once before any is used twice."""

    def __init__(self, prompts: Sequence[Prompt], seed: int):
        """Raises PromptError for an empty list."""
        if not prompts:
            raise PromptError("the list of prompts is empty; training needs at least one")
        self.prompts = prompts
        self._noise = NoiseStreams(seed)

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, epoch: int, count: int) -> list[Prompt]:
        """The `count` prompts of an epoch (from 0), numbered from 0: a function of seed, epoch and count alone.

        Epochs continue each other where `count` is the same for all.
        """
        assert epoch >= 0
        assert count > 0
        size, start = len(self), epoch * count
        shuffles = range(start // size, (start + count - 1) // size + 1)
        rows = [row for n in shuffles for row in self._noise.permutation(size, "prompts", n).tolist()]
        first = start % size
        return _numbered([self.prompts[row] for row in rows[first : first + count]])


def evenly_spread(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """`count` prompts at equal distances over the list, in its order, numbered from 0; all if there are fewer."""
    count = min(count, len(prompts))
    return _numbered([prompts[i * len(prompts) // count] for i in range(count)])


LARGEST_SHARE = 5
"""At most every fifth text is set aside."""


def part(prompts: Sequence[Prompt], count: int) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on, and `count` to evaluate on (fewer of a short list), at equal distances over the list.

    No text is in both. Raises PromptError for a list of a single text.
    """
    distinct = list({prompt.text: prompt for prompt in prompts}.values())
    if len(distinct) < 2:
        raise PromptError("one prompt is too few to set some aside for evaluation; give prompts.eval_path")
    held_out = evenly_spread(distinct, min(count, max(1, len(distinct) // LARGEST_SHARE)))
    texts = {prompt.text for prompt in held_out}
    return _numbered([prompt for prompt in prompts if prompt.text not in texts]), held_out


def _numbered(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [replace(prompt, number=number) for number, prompt in enumerate(prompts)]
