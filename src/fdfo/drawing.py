"""Drawing images with fixed seeds: an image's start noise depends on (seed, prompt number, image number) alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.flow.path import Scalar
from fdfo.flow.solve import integrate
from fdfo.interfaces import Policy, Weights
from fdfo.objectives.difference import mean_square
from fdfo.records import Conditioning, Prompt

BATCH = {"cpu": 128, "cuda": 16}
"""Images sampled at a time where nothing else is said."""


@dataclass(frozen=True)
class Generated:
    """Images of some prompts; B = P images_per_prompt, the images of a prompt side by side."""

    prompts: Sequence[Prompt]
    images: Tensor  # [B, 3, H, W] in [0, 1]
    velocity_rms: Tensor  # [B] root of the mean square of the velocity over the trajectory


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    steps: int,
    seed: int = 0,
    images_per_prompt: int = 1,
    weights: Weights = "current",
    batch: int | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[Generated]:
    """Sample images by `steps` Euler steps, `batch` at a time (by device where None), which does not change them.

    `watch` is called before each prompt that is encoded, and may raise to stop.
    """
    noise = NoiseStreams(seed)
    grid = policy.grid(steps).tolist()
    policy.prepare([prompt.text for prompt in prompts], watch)
    batch = max(1, (batch or BATCH[policy.device.type]) // images_per_prompt)
    for start in range(0, len(prompts), batch):
        chunk = prompts[start : start + batch]
        numbers = [prompt.number for prompt in chunk]
        x = noise.starts(policy.latent_shape, numbers, images_per_prompt).to(policy.device)
        cond = policy.encode([prompt.text for prompt in chunk]).repeat(images_per_prompt)
        flow = _Measured(policy, cond, weights)
        x0 = integrate(flow, x, grid)
        yield Generated(chunk, policy.decode(x0), (flow.square / steps).sqrt())


class _Measured:
    """A policy's velocity for one conditioning that adds up its mean square."""

    def __init__(self, policy: Policy, cond: Conditioning, weights: Weights):
        self.policy, self.cond, self.weights = policy, cond, weights
        self.square: Tensor = torch.zeros(len(cond), device=policy.device)

    def __call__(self, x: Tensor, t: Scalar) -> Tensor:
        v = self.policy.velocity(x, t, self.cond, weights=self.weights)
        self.square += mean_square(v)
        return v
