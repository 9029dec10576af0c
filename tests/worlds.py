"""Tiny worlds with closed forms, for tests of methods and the loop: no network, no files."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from fdfo.config.tree import AdapterConfig
from fdfo.flow.grid import shifted_grid
from fdfo.models.weights import TrainableWeights
from fdfo.records import Conditioning


class Offset(Module):
    """A velocity that is the same everywhere; the base value is zero."""

    def __init__(self, shape):
        super().__init__()
        self.offset = Parameter(torch.zeros(shape))


class GaussianPolicy:
    """Exact velocity of data x0 ~ N(mean, std^2), plus a trainable offset; images are the latents themselves.

    The flow is linear in x. `offset` moves the velocity everywhere alike; its base value is zero.
    """

    def __init__(self, shape=(1, 2, 2), mean=0.3, std=0.5):
        self.latent_shape = shape
        self.device = torch.device("cpu")
        self.state_dtype = self.velocity_dtype = torch.float32
        self.mean, self.std = mean, std
        network = Offset(shape)
        self.weights = TrainableWeights(network, ())
        self.weights.attach(AdapterConfig(kind="full"), seed=0)
        self.offset = network.offset
        self.calls: list[tuple[int, float]] = []
        self.graded: list[bool] = []  # whether each call was made with gradient

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(tuple({} for _ in prompts))

    def prepare(self, prompts: Sequence[str], watch: Callable[[], None] = lambda: None) -> None:
        pass

    def velocity(self, x: Tensor, t, cond: Conditioning, *, weights="current") -> Tensor:
        assert len(cond) == len(x)
        times = torch.as_tensor(t, dtype=x.dtype).expand(len(x)).reshape(-1, 1, 1, 1)
        self.calls.append((len(x), float(times.detach().flatten()[0])))
        self.graded.append(torch.is_grad_enabled())
        variance = (1 - times) ** 2 * self.std**2 + times**2
        deviation = (x - (1 - times) * self.mean) / variance
        v = times * deviation - (self.mean + (1 - times) * self.std**2 * deviation)
        with self.weights.use(weights) as network:
            return v + network.offset

    def decode(self, x0: Tensor) -> Tensor:
        return x0

    def grid(self, steps: int) -> Tensor:
        return shifted_grid(steps, 1.0)

    def trainable(self) -> list[Parameter]:
        return [self.offset]
