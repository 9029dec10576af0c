"""How much better a sample is than others: scores [B] to advantages [B], both float64 in training.

Differences are taken first, and means of differences after: equal scores then give exactly zero, whatever their size.
"""

from torch import Tensor


def centred(scores: Tensor) -> Tensor:
    """Scores [..., n] less their mean over the last dimension; exactly zero where all of them are equal."""
    apart = scores - scores[..., :1]
    return apart - apart.mean(-1, keepdim=True)


def moments(scores: Tensor) -> tuple[float, float]:
    """Mean and standard deviation, divided by their number, of scores [n]; NaN of none.

    Of equal scores these are exactly that score and zero.
    """
    values = scores.double()
    apart = values - values[:1]
    mean = apart.mean()
    return float(values[:1].sum() + mean), float((apart - mean).square().mean().sqrt())


def standardized(scores: Tensor, mean: Tensor | float, std: Tensor | float, eps: float = 1e-4) -> Tensor:
    """(R - mean) / (std + eps); mean and std are numbers or [B]."""
    return (scores - mean) / (std + eps)


def group_advantages(scores: Tensor, group_size: int, std: float | None = None) -> Tensor:
    """Scores standardised within their group (GRPO, arXiv:2402.03300): samples of a group stand side by side.

    std is that of all samples of the batch, or None for each group's own, divided by its size. Advantages of a group
    sum to 0, and are exactly 0 where its scores are equal.
    """
    differences = centred(scores.reshape(-1, group_size))
    spread = differences.square().mean(1, keepdim=True).sqrt() if std is None else std
    return standardized(differences, 0.0, spread).flatten()
