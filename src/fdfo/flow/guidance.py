"""Classifier-free guidance (arXiv:2207.12598) on velocities [B, ...], whose last dimension is a token's where a rule
keeps its length."""

from torch import Tensor


def guided(v_negative: Tensor, v_positive: Tensor, scale: float) -> Tensor:
    """v = v_negative + scale (v_positive - v_negative), [B, ...]; scale 1 is the positive velocity."""
    return v_negative + scale * (v_positive - v_negative)


def renormed(v_negative: Tensor, v_positive: Tensor, scale: float) -> Tensor:
    """Guidance with the length of the positive velocity, along the last dimension (as Qwen-Image does)."""
    v = guided(v_negative, v_positive, scale)
    return v * (_length(v_positive) / _length(v))


def renormed_down(v_negative: Tensor, v_positive: Tensor, scale: float) -> Tensor:
    """Guidance that is nowhere longer than the positive velocity, along the last dimension (as LongCat-Image does)."""
    v = guided(v_negative, v_positive, scale)
    return v * (_length(v_positive) / _length(v)).clamp(max=1.0)


def _length(v: Tensor) -> Tensor:
    return v.square().sum(-1, keepdim=True).sqrt()
