"""How much better a sample is than others: scores [B] float32 or wider to advantages [B]."""

from torch import Tensor


def standardized(scores: Tensor, mean: Tensor | float, std: Tensor | float, eps: float = 1e-4) -> Tensor:
    """(R - mean) / (std + eps); mean and std are numbers or [B]."""
    return (scores - mean) / (std + eps)


def group_advantages(scores: Tensor, group_size: int, std: float | None = None) -> Tensor:
    """Scores standardised within their group (GRPO, arXiv:2402.03300): samples of a group stand side by side.

    std is that of all samples of the batch, or None for each group's own, divided by its size. Advantages of a group
    sum to 0.
    """
    groups = scores.reshape(-1, group_size)
    mean = groups.mean(1, keepdim=True)
    spread = (groups - mean).square().mean(1, keepdim=True).sqrt() if std is None else std
    return standardized(groups, mean, spread).flatten()
