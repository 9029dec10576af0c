"""Metrics that losses report for each row [n], without gradient."""

from math import log1p

from torch import Tensor

from fdfo.objectives.difference import mean_square

RATIO_METRICS = ("ratio_change", "clip_fraction", "velocity_rms")


def ratio_metrics(log_ratio: Tensor, clip_range: float, v: Tensor) -> dict[str, Tensor]:
    """Metrics of a row whose policy ratio is exp(log_ratio) [n], trusted within 1 +- clip_range; v is [n, C, H, W].

    ratio_change is |log ratio|: |ratio - 1| while that is small, and finite however large it is.
    """
    log_ratio = log_ratio.detach()
    is_outside = (log_ratio >= log1p(clip_range)) | (log_ratio.expm1() <= -clip_range)
    return {
        "ratio_change": log_ratio.abs(),
        "clip_fraction": is_outside.float(),
        "velocity_rms": mean_square(v.detach()).sqrt(),
    }
