"""Diversity: how far the images of one prompt lie from each other in a feature space."""

from collections.abc import Callable

from torch import Tensor

Features = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] in [0, 1] -> features [B, D], scaled as they are to be compared."""


def diversity(features: Tensor, images_per_prompt: int) -> Tensor:
    """Mean squared distance of all pairs of images of each prompt: features [P k, D] -> [P].

    The same quantity as DreamSim diversity (arXiv:2306.09344 features), here of the given features.
    """
    k = images_per_prompt
    assert k >= 2
    groups = features.reshape(-1, k, features.shape[1])
    centred = groups - groups.mean(1, keepdim=True)
    return 2 * centred.square().sum((1, 2)) / (k - 1)  # mean over pairs of |f_i - f_j|^2
