"""Image features of the rewards that have them, for diversity."""

from collections.abc import Callable

from torch import Tensor

from fdfo.rewards.weighted import WeightedSum


def image_features(reward: WeightedSum) -> Callable[[Tensor], Tensor] | None:
    """Images [B, 3, H, W] -> embeddings [B, D] of the first component that can embed images; None without one."""
    return next(filter(None, (getattr(part, "image_features", None) for part in reward.rewards)), None)
