"""Trust-region surrogates on the log ratio of new to old policy; one loss per item [B]."""

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


def spo(log_ratio: Tensor, slope: Tensor, clip_range: float = 0.03) -> Tensor:
    """Simple policy optimization (arXiv:2401.16025, Eq. 14) per item [B], a loss to minimise.

        -slope ratio + |slope| (ratio - 1)^2 / (2 c),    ratio = exp(log_ratio)

    Its minimum is at ratio = 1 + c sign(slope). log_ratio and slope are [B], clip_range is c > 0.
    """
    change = log_ratio.expm1()  # ratio - 1 without cancellation
    return -slope * (change + 1) + slope.abs() * change.square() / (2 * clip_range)
