"""Trust-region surrogates on the log ratio of new to old policy; one loss per item [B]."""

from torch import Tensor


def velocity_log_ratio(v: Tensor, v_ref: Tensor, direction: Tensor) -> Tensor:
    """Log ratio [B] of a velocity v to the recorded v_ref, for the target v_ref - direction (arXiv:2603.12893).

        -mean((v - target)^2) + mean((v_ref - target)^2) = -mean(dv^2 + 2 dv direction),    dv = v - v_ref

    The right-hand form is evaluated: the left one subtracts two large numbers and loses all digits at small gaps.
    All arguments are [B, ...], float32 or wider.
    """
    dv = v - v_ref
    return -(dv * (dv + 2 * direction)).flatten(1).mean(1)


def spo(log_ratio: Tensor, slope: Tensor, clip_range: float = 0.03) -> Tensor:
    """Simple policy optimization (arXiv:2401.16025, Eq. 14) per item [B], a loss to minimise.

        -slope ratio + |slope| (ratio - 1)^2 / (2 c),    ratio = exp(log_ratio)

    Its minimum is at ratio = 1 + c sign(slope). log_ratio and slope are [B], clip_range is c > 0.
    """
    change = log_ratio.expm1()  # ratio - 1 without cancellation
    return -slope * (change + 1) + slope.abs() * change.square() / (2 * clip_range)
