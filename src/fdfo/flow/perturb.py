"""Weak noise on the way from noise to image: finite difference flow optimization (arXiv:2603.12893).

A step overshoots its destination and is then re-noised to it: the churn of Karras et al. (arXiv:2206.00364,
Algorithm 2) in flow form. It keeps the marginal distribution at the destination exactly.
"""

from torch import Tensor

from fdfo.flow.path import Scalar, per_sample


def _noise_scale(g: Scalar) -> Scalar:
    """sqrt((1 + g)^2 - 1), written so that a small g keeps all its digits."""
    return (g * g + 2 * g) ** 0.5


def renoise_start(z: Tensor, g: Scalar, noise: Tensor) -> Tensor:
    """Re-noise the shared start: z' = (z + sqrt(g^2 + 2 g) n) / (1 + g), again standard normal.

    z and noise are [B, ...] standard normal, g >= 0 the strength at t = 1. Returns [B, ...].
    """
    g = per_sample(g, z)
    return (z + _noise_scale(g) * noise) / (1 + g)


def overshoot_time(s: Scalar, g: Scalar) -> Scalar:
    """Time r = s / (1 + g (1 - s)) <= s whose state, re-noised with strength g, has the marginal at s."""
    return s / (1 + g * (1 - s))


def perturbed_step(x: Tensor, v: Tensor, t: Scalar, s: Scalar, g: Scalar, noise: Tensor) -> Tensor:
    """One step from t to s < t with fresh noise of strength g at the destination.

        r   = s / (1 + g (1 - s))
        y   = x + (r - t) v
        x_s = (y + r sqrt(g^2 + 2 g) n) / (1 + g r)

    x, v, noise are [B, ...]; v is the velocity at (x, t), or a solver's mean velocity from t to r. g = 0 is the
    plain Euler step, and at s = 0 nothing is added whatever g. Returns x_s [B, ...].
    """
    t, s, g = per_sample(t, x), per_sample(s, x), per_sample(g, x)
    r = overshoot_time(s, g)
    y = x + (r - t) * v
    return (y + r * _noise_scale(g) * noise) / (1 + g * r)


def perturbation(x_s: Tensor, x: Tensor, v: Tensor, t: Scalar, s: Scalar) -> Tensor:
    """Displacement x_s - (x + (s - t) v) that a perturbed step added to the plain Euler step; [B, ...]."""
    return x_s - x - (per_sample(s, x) - per_sample(t, x)) * v
