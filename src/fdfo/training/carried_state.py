"""State that a run carries from epoch to epoch beside the weights, as named tensors.

It has averaged weights, the method's memory, and the moments by which scores are standardised.
"""

from collections.abc import Mapping

from torch import Tensor

from fdfo.interfaces import Method, TrainedWeights
from fdfo.rewards.weighted import WeightedSum

MEMORY = "memory/"
"""Prefix of the names of the method's memory."""


def carried_state(method: Method, weights: TrainedWeights, reward: WeightedSum) -> dict[str, Tensor]:
    """Collect all of it, as `average/<name>/<parameter>`, `memory/<entry>` and `reward/<component>`."""
    averages = {
        f"average/{name}/{parameter}": value
        for name in method.averages
        for parameter, value in weights.snapshots[name].items()
    }
    memory = {} if method.memory is None else method.memory.state()
    parts = {"memory": memory, "reward": reward.state()}
    others = {f"{part}/{entry}": value for part, entries in parts.items() for entry, value in entries.items()}
    return {**averages, **others}


def restore_carried_state(
    method: Method, weights: TrainedWeights, reward: WeightedSum, state: Mapping[str, Tensor]
) -> None:
    """Restore the tensors that `carried_state` collected."""
    for name in method.averages:
        for parameter, value in weights.snapshots[name].items():
            value.copy_(state[f"average/{name}/{parameter}"])
    if method.memory is not None:
        method.memory.restore(_part(state, MEMORY))
    reward.restore(_part(state, "reward/"))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
