"""Sharpness: the energy of the finest details, which over-optimised pictures gain (texture) or lose (flat areas)."""

from torch import Tensor
from torch.nn.functional import avg_pool2d


def sharpness(images: Tensor) -> Tensor:
    """RMS difference to the mean of each 3 x 3 neighbourhood, without the border: images [B, 3, H, W] to [B]."""
    detail = images[..., 1:-1, 1:-1] - avg_pool2d(images, 3, stride=1)
    return detail.square().mean((1, 2, 3)).sqrt()
