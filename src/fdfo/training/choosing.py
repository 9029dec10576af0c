"""Which evaluation of a run is its best."""

from collections.abc import Sequence
from math import isfinite, nan

import torch

from fdfo.evaluation.heldout import Evaluation
from fdfo.rewards.weighted import WeightedSum


def best(history: Sequence[Evaluation], reward: WeightedSum, metric: str) -> tuple[int | None, int]:
    """Epoch of the best evaluation by a score, the first of equals, and the number of evaluations since."""
    means = [level(evaluation, reward, metric) for evaluation in history]
    order = [(mean, -index) for index, mean in enumerate(means) if isfinite(mean)]
    if not order:
        return None, 0
    index = -max(order)[1]
    return history[index].epoch, len(means) - 1 - index


def level(evaluation: Evaluation, reward: WeightedSum, metric: str) -> float:
    """Held-out mean of a score; of the trained one, `reward`, in the units that it is trained in.

    Standardised components are measured by what standardisation knows now, the same for all evaluations.
    """
    if metric not in evaluation.scores:  # nobody is asked about held-out images
        return nan
    if metric != "reward" or not reward.standardizes:
        return evaluation.interval(metric).mean
    names = reward.held_out
    if not any(name in evaluation.asked for name in names):
        means = {name: torch.tensor([evaluation.interval(name).mean], dtype=torch.float64) for name in names}
        return float(reward.standardized_total(means))
    values = {name: torch.from_numpy(evaluation.values(name)) for name in names}  # [P]
    applied = {name: torch.tensor(asked) for name, asked in evaluation.asked.items()}
    return float(reward.standardized_total(values, applied).nanmean())
