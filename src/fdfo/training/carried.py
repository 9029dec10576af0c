"""What a method carries from epoch to epoch, as named tensors: averaged weights and its memory."""

from collections.abc import Mapping

from torch import Tensor

from fdfo.interfaces import Method
from fdfo.models.weights import TrainableWeights


def carried(method: Method, weights: TrainableWeights) -> dict[str, Tensor]:
    """All of it: `average/<name>/<parameter>` and `memory/<entry>`."""
    averages = {
        f"average/{name}/{parameter}": value
        for name in method.averages
        for parameter, value in weights.snapshots[name].items()
    }
    memory = {} if method.memory is None else method.memory.state()
    return {**averages, **{f"memory/{entry}": value for entry, value in memory.items()}}


def restore_carried(method: Method, weights: TrainableWeights, state: Mapping[str, Tensor]) -> None:
    """Put tensors of `carried` back."""
    for name in method.averages:
        for parameter, value in weights.snapshots[name].items():
            value.copy_(state[f"average/{name}/{parameter}"])
    if method.memory is not None:
        entries = {key.removeprefix("memory/"): value for key, value in state.items() if key.startswith("memory/")}
        method.memory.restore(entries)
