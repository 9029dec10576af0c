"""The scores of images that a loss makes and scores itself, for what is logged of an epoch. N images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.rewards.weighted import WeightedSum
from fdfo.training.engine import Engine


class Listening:
    """A trained reward that keeps what it returns, by component; differentiable as it is."""

    differentiable = True

    def __init__(self, reward: WeightedSum):
        self._reward = reward
        self.heard: list[Tensor] = []  # each [n, components] float64, without gradient

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Done before."""

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """The weighted sum to train on, [B]."""
        components = self._reward.components(images, prompts, metadata)
        self.heard.append(torch.stack([values.detach() for values in components.values()], 1))
        return self._reward.standardized_total(components)


def take_heard(engine: Engine) -> dict[str, Tensor]:
    """Components [N] float64 by name of all images of all processes that losses scored since the last call."""
    heard, engine.heard = engine.heard, []
    own = torch.cat(heard).cpu() if heard else torch.zeros((0, len(engine.reward.names)), dtype=torch.float64)
    return dict(zip(engine.reward.names, engine.team.gather_rows(own).unbind(1), strict=True))
