"""What costs how much, in rows forward through the network.

Measured on the embedded model by `python -m benchmarks.speed.prices`, one thread; docs/results/prices.md. For other
models a plan names what its cells need.
"""

from dataclasses import dataclass

from fdfo.comparison.counting import EpochCost
from fdfo.comparison.plan import Prices
from fdfo.config.tree import Config
from fdfo.errors import ConfigError

TRAINED = {"full": 3.0, "lora": 2.12}
"""A row forward and backward: all weights (on `shapes` 2.65 alone, 2.8 to 3 in whole runs, with what a row has of the
optimizer's step), and LoRA (of SD3.5-Medium; the base is frozen)."""

DECODER_GRADIENT = {"shapes": 3.5}
"""An image decoded forward and backward, by policy."""

SCORE_GRADIENT = {"shapes-contrastive": 2.1}
"""An image scored forward and backward, by score."""


@dataclass(frozen=True)
class Rates:
    """Prices of one configuration, in rows forward."""

    trained: float
    """A row forward and backward."""
    differentiated: float
    """An image decoded and scored, forward and backward."""

    def evaluations(self, cost: EpochCost) -> float:
        """Network evaluations, everything charged."""
        return cost.forwards + self.trained * cost.trained + self.differentiated * cost.differentiated


def rates(prices: Prices, config: Config, cost: EpochCost) -> Rates:
    """The plan's prices, or those that were measured. Raises ConfigError where one is needed and not known."""
    trained = prices.trained or TRAINED[config.policy.adapter.kind]
    if cost.differentiated == 0:
        return Rates(trained, 0.0)
    decoder = _known(prices.decoder_gradient, DECODER_GRADIENT, "decoder_gradient", config.policy.name)
    names = [entry.name for entry in config.reward]
    scores = [_known(prices.score_gradient, SCORE_GRADIENT, "score_gradient", name) for name in names]
    return Rates(trained, decoder + (sum(scores) if prices.score_gradient is None else prices.score_gradient))


def _known(given: float | None, measured: dict[str, float], field: str, name: str) -> float:
    if given is not None:
        return given
    if name not in measured:
        raise ConfigError(
            "the plan",
            [f"prices.{field}: not known for {name}; measure it with `python -m benchmarks.speed.prices` and set it"],
        )
    return measured[name]
