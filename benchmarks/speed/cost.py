"""What a run costs: `python -m benchmarks.speed.cost [RECIPE] [KEY=VALUE]... [--cards 8] [--tflops 350] [--scoring S]`.

From the model's FLOPs, the number of cards and the rate that one of them reaches on it (scale.py measures it).
The recipe is sd35-medium-paper unless one is given.
"""

import argparse
from dataclasses import dataclass
from math import ceil

from benchmarks.speed.flops import COUNTED, RowCost, row_cost
from fdfo.comparison.counting import EpochCost, epoch_cost
from fdfo.config.load import load_config
from fdfo.models.inputs import T5_TOKENS
from fdfo.models.load import latent_shape


@dataclass(frozen=True)
class Cost:
    """An epoch, on all cards."""

    seconds: float
    gpu_hours: float


def cost_on(work: EpochCost, row: RowCost, groups: int, *, cards: int, tflops: float, scoring_s: float = 0.0) -> Cost:
    """Cost of an epoch of this work on `cards` cards that reach `tflops` TFLOP/s each on this model.

    groups are the prompts, of which each is one card's; the card with the largest share sets the pace: 432 pairs on 32
    cards are shares of 13 and 14. scoring_s are the card-seconds that decoding and scoring all images take.
    """
    work_s = (work.forwards * row.forward + work.trained * row.trained) / tflops + scoring_s
    seconds = work_s * ceil(groups / cards) / groups
    return Cost(seconds=seconds, gpu_hours=seconds * cards / 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="sd35-medium-paper")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--tflops", type=float, default=350.0, help="TFLOP/s that a card reaches")
    parser.add_argument("--scoring", type=float, default=0.0, help="card-seconds an epoch of decoding and scoring")
    options = parser.parse_args()
    config = load_config(options.recipe, options.changes)
    policy = config.policy
    if policy.name not in COUNTED:
        parser.error(f"FLOPs are counted for {', '.join(COUNTED)}, and not for policy.name={policy.name}")
    tokens = T5_TOKENS if policy.text_tokens is None else policy.text_tokens
    row = row_cost(policy.name, latent_shape(policy)[1:], tokens, policy.adapter.rank)
    work, groups = epoch_cost(config), config.prompts.pairs_per_epoch
    cost = cost_on(work, row, groups, cards=options.cards, tflops=options.tflops, scoring_s=options.scoring)
    hours, total = config.train.epochs * cost.seconds / 3600, config.train.epochs * cost.gpu_hours
    print(f"{work.forwards} rows forward x {row.forward:.3f} TFLOP, {work.trained} with gradient x {row.trained:.3f}")
    scoring = f"{options.scoring:g} card-seconds of" if options.scoring else "without"
    print(f"at {options.tflops:g} TFLOP/s a card, {scoring} decoding and scoring (--tflops, --scoring):")
    print(f"an epoch: {cost.seconds:.0f} s on {options.cards} cards, {cost.gpu_hours:.3f} GPU-hours")
    print(f"{config.train.epochs} epochs: {hours:.1f} hours, {total:.1f} GPU-hours")


if __name__ == "__main__":
    main()
