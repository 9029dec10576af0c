"""Trust-region surrogates on the log ratio of new to old policy; one loss per item [B]."""

from math import log1p

import torch
from torch import Tensor


def velocity_log_ratio(v: Tensor, v_ref: Tensor, direction: Tensor) -> Tensor:
    """Log ratio [B] of a velocity v to the recorded v_ref, for the target v_ref - direction (arXiv:2603.12893).

        -mean((v - target)^2) + mean((v_ref - target)^2) = -mean(dv^2 + 2 dv direction),    dv = v - v_ref

    The right-hand form is evaluated: the left one subtracts two large numbers and loses all digits at small gaps.
    All arguments are [B, ...], float32 or wider.
    """
    dv = v - v_ref
    return -(dv * (dv + 2 * direction)).flatten(1).mean(1)


def gaussian_log_ratio(shift: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """Log ratio [B] of a Gaussian transition whose mean moved by `shift`, at x_s = mean_old + std noise.

        log p - log p_old = mean(noise shift / std - shift^2 / (2 std^2))

    averaged over the elements, not summed: the D-th root of the ratio, as Flow-GRPO's clipping presumes. shift and
    noise are [B, ...], std is positive, 0-d or [B, 1, ...].
    """
    scaled = shift / std
    return (scaled * (noise - scaled / 2)).flatten(1).mean(1)


def clipped(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    """Clipped surrogate of PPO (arXiv:1707.06347, Eq. 7) per item [B], a loss to minimise.

        max(-A ratio, -A clip(ratio, 1 - c, 1 + c)),    ratio = exp(log_ratio)

    log_ratio and advantage are [B], clip_range is c > 0.
    """
    change = log_ratio.expm1()  # ratio - 1 without cancellation
    return torch.maximum(-advantage * (1 + change), -advantage * (1 + change.clamp(-clip_range, clip_range)))


def masked(log_ratio: Tensor, advantage: Tensor, is_far: Tensor) -> Tensor:
    """Surrogate without the rows that leave their trust region (Flow-DPPO, arXiv:2606.11025, Eq. 18) per item [B].

        -A ratio,    and 0 where is_far and the ratio has moved as A wants it (A log_ratio > 0)

    A row that is far from the old policy, but would come back, is kept. is_far is [B] bool.
    """
    losses = -advantage * log_ratio.exp()
    return losses.where(~(is_far & (advantage * log_ratio > 0)), 0.0)


def spo(log_ratio: Tensor, slope: Tensor, clip_range: float = 0.03) -> Tensor:
    """Simple policy optimization (arXiv:2401.16025, Eq. 14) per item [B], a loss to minimise.

        -slope ratio + |slope| (ratio - 1)^2 / (2 c),    ratio = exp(log_ratio)

    Its minimum is at ratio = 1 + c sign(slope). log_ratio and slope are [B], clip_range is c > 0.
    """
    change = log_ratio.expm1()  # ratio - 1 without cancellation
    return -slope * (change + 1) + slope.abs() * change.square() / (2 * clip_range)


def bounded_spo(
    log_ratio: Tensor, slope: Tensor, reach: Tensor, clip_range: float = 0.03, trusted: float = 4.0
) -> Tensor:
    """`spo` [B] for log ratios within `trusted` times those of its trust region's edges, and bounded beyond.

    SPO pushes a row back with a force that grows as exp(2 log ratio) above its region, where a few rows outweigh all
    others, and that dies as exp(log ratio) below it, from where none comes back. From

        lower, upper = trusted log(1 - c), trusted log(1 + c)

    on, the loss goes on with the slope that it has there: above linearly in the log ratio, below linearly in the
    distance of the velocity from its target, which is the root of D (reach - log ratio). So the force on a velocity
    points back into the region everywhere, is never larger than at an edge, and below never smaller. Loss and
    derivative are continuous; between the edges both are those of `spo` to the last digit.

    reach [B] is the largest log ratio there is, mean(direction^2) for `velocity_log_ratio`; trusted is above 1.
    """
    lower, upper = trusted * log1p(-clip_range), trusted * log1p(clip_range)
    edge = log_ratio.detach().clamp(lower, upper)
    change = edge.expm1()
    force = (change + 1) * (slope.abs() * change / clip_range - slope)  # d spo / d log ratio
    low = log_ratio.clamp(max=lower)
    start = reach - lower
    # 2 start (1 - sqrt((reach - low) / start)): the change of the distance, without subtracting roots
    below = 2 * (low - lower) / (1 + ((reach - low) / start).sqrt())
    beyond = torch.where(log_ratio < lower, below, log_ratio - upper)
    is_inside = (log_ratio >= lower) & (log_ratio <= upper)
    inside = spo(log_ratio.clamp(lower, upper), slope, clip_range)
    return torch.where(is_inside, inside, spo(edge, slope, clip_range) + force * beyond)
