"""Finite-difference estimates of the score's gradient in latent space (arXiv:2603.12893).

Samples of a group share their prompt and their starting noise and stand side by side: a pair is rows 2p, 2p + 1.
"""

import torch
from torch import Tensor

from fdfo.objectives.advantage import centred


def mean_square(x: Tensor) -> Tensor:
    """Mean of squares over the elements of each sample: [B, ...] -> [B]."""
    return x.square().flatten(1).mean(1)


def scale_by(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply each sample of x [B, ...] by its weight [B]."""
    return x * weight.reshape(-1, *[1] * (x.ndim - 1))


def pair_differences(x0: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Half differences a - b of each pair: gap [P, C, H, W] of the endpoints, slope [P] of the scores.

    x0 is [2P, C, H, W] interleaved a, b; scores is [2P], and its precision that of the slope. For branch b both are
    negated.
    """
    gap = (x0[0::2] - x0[1::2]) / 2
    slope = (scores[0::2] - scores[1::2]) / 2
    return gap, slope


def normalized_direction(gap: Tensor, eps: float = 1e-6) -> Tensor:
    """gap / (mean(gap^2) + eps), [P, C, H, W]; divided by the mean *square*, not by the RMS.

    Then slope x direction is the slope per unit length times the unit direction: the score's gradient projected
    on the gap, up to the number of elements. A zero gap gives a zero direction.
    """
    return scale_by(gap, 1 / (mean_square(gap) + eps))


def unit_slope(direction: Tensor, slope: Tensor, smallest: float = 1e-5) -> Tensor:
    """Slopes [B] of the same signs for which slope x direction [B, ...] has an RMS of 1; 0 stays 0."""
    return slope.sign() / mean_square(direction).sqrt().clamp_min(smallest)


def covariance_vector(x0: Tensor, scores: Tensor, branches: int, smallest: float = 1e-5) -> Tensor:
    """Covariance of scores and endpoints of each group, of unit RMS, the same for all its samples: [B, C, H, W].

        C = sum_k (R_k - R_mean) (x0_k - x0_mean) / (K - 1),    G = C / mean |R - R_mean|,    G / max(RMS(G), smallest)

    (DiffusionART, arXiv:2610.12572.) Zero for a group of equal scores. x0 is [B, C, H, W], groups of K = branches side
    by side; scores are [B].
    """
    differences = centred(scores.reshape(-1, branches))  # [P, K]
    endpoints = x0.reshape(-1, branches, *x0.shape[1:]).flatten(2)
    gaps = endpoints - endpoints.mean(1, keepdim=True)  # [P, K, D]
    size = differences.abs().mean(1, keepdim=True)
    shape = (differences / size.clamp_min(torch.finfo(size.dtype).tiny)).to(x0.dtype)
    vector = (shape[:, :, None] * gaps).sum(1) / (branches - 1)  # [P, D]
    vector = scale_by(vector, 1 / mean_square(vector).sqrt().clamp_min(smallest))
    return vector.repeat_interleave(branches, 0).reshape(x0.shape)


def group_differences(
    x0: Tensor, scores: Tensor, branches: int, eps: float = 1e-6, normalize: bool = True
) -> tuple[Tensor, Tensor]:
    """Direction [B, C, H, W] and slope [B] of every sample from all pairs of its group of `branches` >= 2.

        V      = mean_i (R_i - R_mean) (x0_i - x0_mean) / (mean_i mean (x0_i - x0_mean)^2 + eps)

    is the regression of the scores on the endpoints; the sum over all pairs is proportional to it. Every sample of the
    group gets slope x direction = V, with |slope| = the standard deviation of the group's scores and the sign of R_i -
    R_mean. Without `normalize` the mean square is left out. Two branches give exactly the half differences and
    normalized directions of the pair. Slopes have the precision of the scores, directions that of x0.
    """
    centred_scores = centred(scores.reshape(-1, branches))  # [P, N]
    endpoints = x0.reshape(-1, branches, *x0.shape[1:])
    gaps = (endpoints - endpoints.mean(1, keepdim=True)).flatten(2)  # [P, N, D]
    spread = centred_scores.square().mean(1).sqrt()  # [P]
    length = gaps.square().mean((1, 2))  # [P]
    shape = (centred_scores / spread.clamp_min(torch.finfo(spread.dtype).tiny)[:, None]).to(x0.dtype)[:, :, None]
    unit = (shape * gaps).mean(1)  # [P, D], V = spread x unit
    if normalize:
        unit = unit / (length + eps)[:, None]
    sign = centred_scores.sign()  # [P, N]
    direction = (sign.to(x0.dtype)[:, :, None] * unit[:, None]).reshape(x0.shape)
    slope = (sign * spread[:, None]).reshape(-1)
    return direction, slope


def gradient_differences(x0: Tensor, gradient: Tensor, branches: int, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Direction [B, C, H, W] and slope [B] from the score's own gradient, at the scale of a finite difference.

    The gap of a group, of RMS length rho, is replaced by one of the same length along each sample's gradient:
    direction = u rho / (rho^2 + eps) with u = gradient / RMS(gradient), slope = rho |gradient|, which is the typical
    score difference of a random gap of that length. x0 (endpoints, or the action of a single branch) and gradient are
    [B, C, H, W].
    """
    groups = x0.reshape(-1, branches, *x0.shape[1:]).flatten(2)
    gaps = groups - groups.mean(1, keepdim=True) if branches > 1 else groups
    square = gaps.square().mean((1, 2)).repeat_interleave(branches)  # [B], rho^2
    rms = mean_square(gradient).sqrt()  # [B]
    direction = scale_by(gradient, square.sqrt() / (square + eps) / rms.clamp_min(torch.finfo(rms.dtype).tiny))
    return direction, square.sqrt() * gradient.flatten(1).square().sum(1).sqrt()
