"""Gaussian transitions of the flow SDE (Flow-GRPO, arXiv:2505.05470, Eq. 9), evaluated in float32 or wider."""

import torch
from torch import Tensor

from fdfo.flow.path import Scalar, per_sample


def flow_sde_step(
    x: Tensor, v: Tensor, t: Scalar, s: Scalar, t_next_of_one: float, noise_level: float
) -> tuple[Tensor, Tensor]:
    """Mean [B, ...] and standard deviation (0-d or [B, 1, ...]) of the transition from t to s < t.

        sigma = a sqrt(t / (1 - t))        where t = 1, the denominator uses t_next_of_one
        mean  = x (1 + sigma^2 / (2 t) dt) + v (1 + sigma^2 (1 - t) / (2 t)) dt,    dt = s - t
        std   = sigma sqrt(-dt)

    x, v are [B, ...]; t_next_of_one is the second time of the grid; noise_level is a (0.7 in the paper).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, v = x.to(dtype), v.to(dtype)
    t, s = (per_sample(torch.as_tensor(time, dtype=dtype, device=x.device), x) for time in (t, s))
    assert isinstance(t, Tensor) and isinstance(s, Tensor)
    dt = s - t
    sigma = noise_level * (t / (1 - torch.where(t >= 1, t_next_of_one, t))).sqrt()
    drift = sigma**2 / (2 * t)
    mean = x * (1 + drift * dt) + v * (1 + drift * (1 - t)) * dt
    return mean, sigma * (-dt).sqrt()
