"""Records the scores of images that a loss makes and scores itself, for the log of an epoch. N images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.rewards.weighted import WeightedSum
from fdfo.rewards.when import Applied
from fdfo.training.engine import Engine


class RecordingReward:
    """The trained reward, which also records the scores of each component. It stays differentiable."""

    differentiable = True

    def __init__(self, reward: WeightedSum):
        self._reward = reward
        self.recorded: list[Tensor] = []  # each [n, components + conditions] float64, without gradient

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Nothing to do: the reward is loaded."""

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """The weighted sum to train on, [B]."""
        components = self._reward.components(images, prompts, metadata)
        applied = self._reward.applied(metadata)
        columns = [values.detach() for values in components.values()]
        self.recorded.append(torch.stack([*columns, *(asked.to(columns[0]) for asked in applied.values())], 1))
        return self._reward.standardized_total(components, applied)


def take_recorded(engine: Engine) -> tuple[dict[str, Tensor], Applied]:
    """Components [N] float64 by name of all images of all processes that losses scored since the last call.

    And which of them those with a `when` were asked about.
    """
    recorded, engine.recorded_scores = engine.recorded_scores, []
    names, conditional = engine.reward.names, list(engine.reward.applied([]))
    none = torch.zeros((0, len(names) + len(conditional)), dtype=torch.float64)
    own = torch.cat(recorded).cpu() if recorded else none
    columns = engine.team.gather_rows(own).unbind(1)
    components = dict(zip(names, columns[: len(names)], strict=True))
    return components, dict(zip(conditional, (column > 0 for column in columns[len(names) :]), strict=True))
