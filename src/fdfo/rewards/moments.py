"""Mean and standard deviation of each component over all that has been scored for training.

Sums are float64 and merged exactly (Chan, Golub and LeVeque 1979), so that neither batches nor interruptions matter.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fdfo.objectives.advantage import moments


class RunningMoments:
    """Running moments of the named components; they start empty."""

    def __init__(self, names: list[str]):
        self._sums = {name: torch.zeros(3, dtype=torch.float64) for name in names}  # count, mean, squared deviations

    def observe(self, components: Mapping[str, Tensor]) -> None:
        """Add scores [B] by name; those that failed do not count."""
        for name, before in self._sums.items():
            values = components[name].detach().cpu().double()
            values = values[values.isfinite()]
            if len(values):
                mean, deviation = moments(values)
                own = torch.tensor([len(values), mean, len(values) * deviation**2], dtype=torch.float64)
                self._sums[name] = _merged(before, own)

    def standardized(self, name: str, scores: Tensor) -> Tensor:
        """Scores [B] less the mean, over the standard deviation; as they are where these are not known or zero."""
        if name not in self._sums:
            return scores
        count, mean, squares = self._sums[name].tolist()
        deviation = (squares / count) ** 0.5 if count else 0.0
        return (scores - mean) / deviation if deviation > 0 else scores

    def know(self, names: Iterable[str]) -> bool:
        """Whether those of the components that are standardised have been observed: more than one value of each."""
        return all(bool(self._sums[name][2] > 0) for name in names if name in self._sums)

    def state(self) -> dict[str, Tensor]:
        """What has been seen, as tensors on the CPU by name."""
        return {name: sums.clone() for name, sums in self._sums.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state of the same components."""
        assert state.keys() == self._sums.keys()
        self._sums = {name: sums.cpu().double() for name, sums in state.items()}


def _merged(a: Tensor, b: Tensor) -> Tensor:
    count = a[0] + b[0]
    step = b[1] - a[1]
    return torch.stack([count, a[1] + step * b[0] / count, a[2] + b[2] + step**2 * a[0] * b[0] / count])
