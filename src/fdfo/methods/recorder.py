"""Stores only the trained steps of a trajectory. B samples, K trained times."""

from collections.abc import Sequence

import torch
from torch import Tensor


def spread_slots(steps: int, times: int, offset: Tensor) -> Tensor:
    """`times` of `steps` steps, evenly spaced from an offset in [0, 1), one for each row: [P, times] int64.

    Systematic sampling: every step is included with probability times / steps, and they are spread over the time.
    """
    return ((torch.arange(times)[None] + offset[:, None]) * steps / times).long()


class Recorder:
    """Stores the states of the trained steps. A field that a step does not give stays zero."""

    def __init__(self, slots: Tensor, names: Sequence[str]):
        self.slots = slots  # [B, K] steps that each sample is trained on
        self.names = set(names)
        self.stores: dict[str, Tensor] = {}

    def visit(self, step: int, **values: Tensor | float) -> None:
        """Store what the samples that train on this step need; values have B rows, or one per prompt while shared."""
        samples, times = (self.slots == step).nonzero(as_tuple=True)  # on the CPU, so that nothing waits for the device
        for name in self.names & values.keys():
            value = torch.as_tensor(values[name])
            value = value[None] if value.ndim == 0 else value  # one number for all samples
            if name not in self.stores:
                self.stores[name] = value.new_zeros((*self.slots.shape, *value.shape[1:]))
            rows = samples * len(value) // len(self.slots)
            there = [index.to(value.device, non_blocking=True) for index in (samples, times, rows)]
            self.stores[name][there[0], there[1]] = value[there[2]]

    def store(self, name: str) -> Tensor:
        """The kept values of one field: [B, K, ...]."""
        return self.stores[name]
