"""Forward-process contrast of an implicit better and worse policy (DiffusionNFT, arXiv:2509.16117)."""

import torch
from torch import Tensor

from fdfo.objectives.difference import mean_square

SMALLEST_ERROR = 1e-5
"""Floor of the error by which a term is divided."""


def negative_aware(clean: Tensor, clean_old: Tensor, x0: Tensor, optimality: Tensor, beta: float) -> Tensor:
    """Loss [B] that moves the clean estimate from the old one toward x0 where optimality > 1/2, away where below.

    `contrast` with x0 as the target of both branches. clean and clean_old are the estimates x - t v [B, ...] of both
    policies at x = (1 - t) x0 + t eps; being linear in v, they mix as the velocities do.
    """
    return contrast(clean, clean_old, x0, x0, optimality, beta)


def contrast(clean: Tensor, clean_old: Tensor, above: Tensor, below: Tensor, optimality: Tensor, beta: float) -> Tensor:
    """Loss [B] that fits an implicit better policy to one target and an implicit worse one to another.

        plus  = old + beta (clean - old)        minus = old - beta (clean - old)
        loss  = (r mean((plus - above)^2) / w_plus + (1 - r) mean((minus - below)^2) / w_minus) / beta

    with w the mean |error| of its own term, without gradient. All but optimality, r [B] in [0, 1], are [B, ...]; beta
    > 0 is the strength of the implicit policies.
    """
    change = beta * (clean - clean_old)
    better = _relative_error(clean_old + change - above)
    worse = _relative_error(clean_old - change - below)
    return (optimality * better + (1 - optimality) * worse) / beta


def _relative_error(error: Tensor) -> Tensor:
    """mean(error^2) / mean(|error|), the divisor without gradient: [B, ...] -> [B]."""
    size = error.detach().abs().flatten(1).mean(1)
    return mean_square(error) / torch.clamp(size, min=SMALLEST_ERROR)
