"""The straight path x_t = (1 - t) x0 + t eps and the conversions it allows (arXiv:2209.03003, Sec. 2.1).

Time is 1 at the noise and 0 at the image, as in diffusers and Stable Diffusion 3 (arXiv:2403.03206). The papers on
rectified flow (arXiv:2209.03003) and flow matching (arXiv:2210.02747) count the other way: their t is 1 - t here, and
their velocity has the other sign.
"""

import torch
from torch import Tensor

Scalar = float | Tensor
"""A number, a 0-d tensor, or a tensor [B] with one value per sample."""


def on_device(value: Scalar, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The same values as a tensor there. A number is written by the device itself, which nobody waits for."""
    if isinstance(value, Tensor):
        return value.to(device, dtype)
    return torch.full((), value, device=device, dtype=dtype)


def per_sample(value: Scalar, like: Tensor) -> Scalar:
    """Reshape a per-sample tensor [B] to [B, 1, ...] so that it broadcasts over `like` [B, ...]; keep scalars."""
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.reshape(-1, *[1] * (like.ndim - 1))
    return value


def interpolate(x0: Tensor, eps: Tensor, t: Scalar) -> Tensor:
    """State x_t = (1 - t) x0 + t eps on the straight path; all [B, ...]."""
    t = per_sample(t, x0)
    return (1 - t) * x0 + t * eps


def velocity_to_clean(x: Tensor, v: Tensor, t: Scalar) -> Tensor:
    """Clean estimate x0_hat = x - t v; [B, ...]."""
    return x - per_sample(t, x) * v


def velocity_to_noise(x: Tensor, v: Tensor, t: Scalar) -> Tensor:
    """Noise estimate eps_hat = x + (1 - t) v; [B, ...]."""
    return x + (1 - per_sample(t, x)) * v


def clean_to_velocity(x: Tensor, x0: Tensor, t: Scalar) -> Tensor:
    """Velocity v = (x - x0) / t that carries x at t > 0 straight to the clean estimate x0; [B, ...]."""
    return (x - x0) / per_sample(t, x)
