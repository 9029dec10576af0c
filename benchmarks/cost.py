"""What an epoch costs: `python -m benchmarks.cost [--cards 8] [--tflops 350] [--scoring 0]`.

From the model's FLOPs, the number of cards and the rate that one of them reaches on it (benchmarks.scale measures it):
by default an epoch of the paper's setting, SD3.5-Medium at 512 px.
"""

import argparse
from dataclasses import dataclass
from math import ceil

FORWARD_TFLOP, TRAINED_TFLOP = 2.25, 4.77
"""Of a row of SD3.5-Medium at 512 px: forward, and forward and backward with frozen weights."""
PAIRS, SAMPLED_ROWS, TRAINED_ROWS = 432, 34_560, 34_560
"""An epoch of the paper's setting: 432 pairs of 2 images with 40 steps, all of which are trained on."""


@dataclass(frozen=True)
class Cost:
    """An epoch, on all cards."""

    seconds: float
    gpu_hours: float


def epoch_cost(
    *,
    cards: int,
    tflops: float,
    scoring_s: float = 0.0,
    pairs: int = PAIRS,
    sampled_rows: int = SAMPLED_ROWS,
    trained_rows: int = TRAINED_ROWS,
    forward_tflop: float = FORWARD_TFLOP,
    trained_tflop: float = TRAINED_TFLOP,
) -> Cost:
    """Cost of an epoch on `cards` cards that reach `tflops` TFLOP/s each on this model.

    scoring_s are the card-seconds that decoding and scoring all images take. The card with the largest share of the
    pairs sets the pace: 432 pairs on 32 cards are shares of 13 and 14.
    """
    work_s = (sampled_rows * forward_tflop + trained_rows * trained_tflop) / tflops + scoring_s
    seconds = work_s * ceil(pairs / cards) / pairs
    return Cost(seconds=seconds, gpu_hours=seconds * cards / 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--tflops", type=float, default=350.0, help="TFLOP/s that a card reaches")
    parser.add_argument("--scoring", type=float, default=0.0, help="card-seconds an epoch of decoding and scoring")
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    cost = epoch_cost(cards=options.cards, tflops=options.tflops, scoring_s=options.scoring)
    hours, total = options.epochs * cost.seconds / 3600, options.epochs * cost.gpu_hours
    print(f"an epoch: {cost.seconds:.0f} s on {options.cards} cards, {cost.gpu_hours:.3f} GPU-hours")
    print(f"{options.epochs} epochs: {hours:.1f} hours, {total:.1f} GPU-hours")


if __name__ == "__main__":
    main()
