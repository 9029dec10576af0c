"""Gaussian transitions that make a flow stochastic, evaluated in float32 or wider.

Both are linear in (x, v) together, and Euler steps where the noise level is 0.
"""

from math import pi

import torch
from torch import Tensor

from fdfo.flow.kinds import Sampler
from fdfo.flow.path import Scalar, on_device, per_sample, velocity_to_clean, velocity_to_noise


def flow_sde_step(
    x: Tensor, v: Tensor, t: Scalar, s: Scalar, t_next_of_one: float, noise_level: Scalar
) -> tuple[Tensor, Tensor]:
    """Mean [B, ...] and standard deviation (0-d or [B, 1, ...]) of the flow SDE's transition from t to s < t.

        sigma = a sqrt(t / (1 - t))        where t = 1, the denominator uses t_next_of_one
        mean  = x (1 + sigma^2 / (2 t) dt) + v (1 + sigma^2 (1 - t) / (2 t)) dt,    dt = s - t
        std   = sigma sqrt(-dt)

    x, v are [B, ...]; t_next_of_one is the second time of the grid; noise_level is a, at least 0 (Flow-GRPO,
    arXiv:2505.05470, Eq. 9; 0.7 there).
    """
    x, v, t, s, a = _in_float32(x, v, t, s, noise_level)
    dt = s - t
    sigma = a * (t / (1 - torch.where(t >= 1, t_next_of_one, t))).sqrt()
    drift = sigma**2 / (2 * t)
    mean = x * (1 + drift * dt) + v * (1 + drift * (1 - t)) * dt
    return mean, sigma * (-dt).sqrt()


def cps_step(x: Tensor, v: Tensor, t: Scalar, s: Scalar, noise_level: Scalar) -> tuple[Tensor, Tensor]:
    """Mean [B, ...] and standard deviation (0-d or [B, 1, ...]) of a coefficient-preserving transition from t to s < t.

        mean = (1 - s) x0_hat + s cos(a pi / 2) eps_hat
        std  = s sin(a pi / 2)

    Part of the predicted noise is exchanged for fresh noise of the same variance, so the state keeps the coefficients
    1 - s and s of its data and its noise, and the last step adds none. noise_level is a in [0, 1] (Flow-CPS,
    arXiv:2509.05952).
    """
    x, v, t, s, a = _in_float32(x, v, t, s, noise_level)
    angle = a * pi / 2
    mean = (1 - s) * velocity_to_clean(x, v, t) + s * angle.cos() * velocity_to_noise(x, v, t)
    return mean, s * angle.sin()


def transition(
    sampler: Sampler, x: Tensor, v: Tensor, t: Scalar, s: Scalar, t_next_of_one: float, noise_level: Scalar
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of `flow_sde_step` (sde) or `cps_step` (cps)."""
    if sampler == "cps":
        return cps_step(x, v, t, s, noise_level)
    return flow_sde_step(x, v, t, s, t_next_of_one, noise_level)


def _in_float32(x: Tensor, v: Tensor, *scalars: Scalar) -> tuple[Tensor, ...]:
    """x, v and scalars as tensors of x's dtype, at least float32, that broadcast over x."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    shaped = [per_sample(on_device(value, x.device, dtype), x) for value in scalars]
    return x.to(dtype), v.to(dtype), *(torch.as_tensor(value) for value in shaped)
