"""Running statistics of the scores of each prompt."""

from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fdfo.objectives.advantage import moments
from fdfo.records import Prompt


class PromptStatistics:
    """Keeps the last scores of each prompt; see fdfo.interfaces.Memory."""

    def __init__(self, buffer_size: int, needed: int):
        """Keep `buffer_size` scores of each prompt; statistics need at least `needed` of them."""
        self.buffer_size, self.needed = buffer_size, needed
        self.buffers: dict[str, deque[float]] = {}

    def observe(self, prompts: Sequence[Prompt], totals: Tensor) -> None:
        """Append the valid totals [B] of an epoch to their prompts' buffers; the oldest give way."""
        for prompt, scores in zip(prompts, totals.reshape(len(prompts), -1), strict=True):
            buffer = self.buffers.setdefault(prompt.text, deque(maxlen=self.buffer_size))
            buffer.extend(scores[scores.isfinite()].tolist())

    def of(self, prompt: str) -> tuple[float, float] | None:
        """Mean and standard deviation of a prompt's last scores; None while there are too few."""
        buffer = self.buffers[prompt]
        if len(buffer) < self.needed:
            return None
        return moments(torch.tensor(list(buffer), dtype=torch.float64))

    def state(self) -> dict[str, Tensor]:
        """Scores [n] float64 by prompt."""
        return {text: torch.tensor(list(buffer), dtype=torch.float64) for text, buffer in self.buffers.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put the buffers back."""
        self.buffers = {text: deque(scores.tolist(), maxlen=self.buffer_size) for text, scores in state.items()}
