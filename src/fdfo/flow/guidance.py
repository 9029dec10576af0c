"""Classifier-free guidance (arXiv:2207.12598) on velocities."""

from torch import Tensor


def guided(v_negative: Tensor, v_positive: Tensor, scale: float) -> Tensor:
    """v = v_negative + scale (v_positive - v_negative), [B, ...]; scale 1 is the positive velocity."""
    return v_negative + scale * (v_positive - v_negative)
