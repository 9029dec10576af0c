"""What an epoch of a method costs, counted with a policy that does nothing else.

The method itself is run, so that every evaluation counts: those with the base weights of a penalty, those of an old
policy, those that checkpointing repeats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.config.tree import AdapterConfig, Config
from fdfo.flow.grid import shifted_grid
from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import Scalar
from fdfo.interfaces import Policy
from fdfo.models.weights import TrainableWeights
from fdfo.plugins import method_of
from fdfo.records import Conditioning, Prompt, Scores


@dataclass(frozen=True)
class EpochCost:
    """What one epoch takes."""

    images: int
    """Scored for training."""
    forwards: int
    """Rows through the network without gradient."""
    trained: int
    """Rows through the network with gradient."""
    differentiated: int = 0
    """Images through which the score's gradient is taken: decoded and scored, forward and backward."""


def epoch_cost(config: Config) -> EpochCost:
    """Cost of an epoch of this configuration, evaluation not counted."""
    method, counting, noise = method_of(config.method), CountingPolicy(), NoiseStreams(config.train.seed, 0)
    policy = cast(Policy, counting)  # as far as a method asks
    for name in method.averages:
        counting.weights.snapshots[name] = counting.weights.copy()
    prompts = [Prompt(text="", number=number) for number in range(config.prompts.pairs_per_epoch)]
    rollout = method.rollout(policy, prompts, noise)
    total = noise.normal((), "scores", rollout.sample_numbers)
    if method.memory is not None:
        method.memory.observe(prompts, total)
    gradient = torch.ones_like(rollout.x0) if method.needs_score_gradient else None
    items = method.credit(rollout, Scores(total=total, components={}, batch=total, gradient=gradient))
    rows = torch.cartesian_prod(torch.arange(items.num_samples), torch.arange(items.num_times)).unbind(1)
    method.loss(policy, items.rows(*rows), Brightness()).losses.sum().backward()
    guided = 1 if config.policy.guidance == 1 else 2
    differentiated = counting.decoded + (len(rollout.x0) if method.needs_score_gradient else 0)
    images = len(rollout.x0) if method.needs_scores else len(rows[0])
    return EpochCost(images, counting.forwards * guided, counting.trained * guided, differentiated)


class CountingPolicy:
    """A velocity with one trainable number, in a world of one pixel: what methods ask of a Policy."""

    latent_shape: tuple[int, int, int] = (1, 1, 1)
    device: torch.device = torch.device("cpu")
    state_dtype: torch.dtype = torch.float32
    velocity_dtype: torch.dtype = torch.float32

    def __init__(self) -> None:
        self.weights = TrainableWeights(_Scale(), ())
        self.weights.attach(AdapterConfig(kind="full"), seed=0)
        self.forwards = 0
        self.trained = 0
        self.decoded = 0
        """Images decoded with gradient."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(tuple({} for _ in prompts))

    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = lambda: None) -> None:
        pass

    def velocity(self, x: Tensor, t: Scalar, cond: Conditioning, *, weights: str = "current") -> Tensor:
        if torch.is_grad_enabled():
            self.trained += len(x)
        else:
            self.forwards += len(x)
        with self.weights.use(weights) as network:
            return network(x)

    def decode(self, x0: Tensor) -> Tensor:
        self.decoded += len(x0) if torch.is_grad_enabled() else 0
        return x0.expand(-1, 3, -1, -1)

    def grid(self, steps: int) -> Tensor:
        return shifted_grid(steps, 1.0)

    def trainable(self) -> list[Parameter]:
        return list(self.weights.named().values())


class _Scale(Module):
    """x -> x / 2, with a number to train."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Brightness:
    """Mean of an image; a differentiable Reward."""

    differentiable = True

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        pass

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[object]) -> Tensor:
        return images.mean((1, 2, 3))
