"""The objects that all steps of an epoch share: policy, method, reward, optimizer, batch sizes and counters."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from fdfo.background import Background
from fdfo.config.tree import Config
from fdfo.interfaces import Method, Policy
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.console import Console
from fdfo.training.distributed import Team
from fdfo.training.interrupt import StopRequest
from fdfo.training.phases import Phases

T = TypeVar("T")


@dataclass(frozen=True)
class Halving:
    """A process goes on with a smaller batch."""

    process: int
    batch: str
    size: int

    def __str__(self) -> str:
        where = f" on process {self.process}" if self.process else ""
        return f"out of memory{where}: going on with {self.batch} = {self.size}"


@dataclass
class Engine:
    """Everything that an epoch needs; built once for a run."""

    config: Config
    team: Team
    policy: Policy
    method: Method
    reward: WeightedSum
    optimizer: torch.optim.Optimizer
    phases: Phases
    stop: StopRequest
    sample_batch: int
    """Prompts that are sampled at a time."""
    score_batch: int
    """Images that are scored at a time."""
    micro_batch: int
    """Rows of one forward and backward pass."""
    console: Console
    overlap: bool
    """Whether a thread computes scores while the next batch is sampled."""
    ema: dict[str, Tensor] | None = None
    skipped_updates: int = 0
    recorded_scores: list[Tensor] = field(default_factory=list)
    """Scores [n, components] of images that losses scored themselves (recorded_scores.py), of this process."""
    halvings: list[Halving] = field(default_factory=list)
    """Halvings of this process since they were logged last."""

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Start to score, in the background if scoring overlaps; returns a function that gives the result.

        The phase "score" counts only the time that the loop waits.
        """
        if not self.overlap:
            with self.phases("score"):
                result = work()
            return lambda: result
        background = Background(work)

        def finish() -> T:
            with self.phases("score"):
                return background.result(self.stop.check)

        return finish
