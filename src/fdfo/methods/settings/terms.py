"""Settings of penalties; see methods/terms.py."""

from fdfo.config.bounds import NonNegative
from fdfo.config.section import Section


class PenaltyConfig(Section):
    """Penalties that hold a velocity near the base's; either makes one evaluation of the base for each row."""

    kl_weight: NonNegative = 0.0
    """Weight of the squared velocity distance to the base."""
    norm_weight: NonNegative = 0.0
    """Weight of what the velocity's RMS exceeds that of the base by (NormGuard, arXiv:2606.27771)."""

    @property
    def penalty_forwards(self) -> int:
        """Evaluations of the base for each row."""
        return int(self.kl_weight > 0 or self.norm_weight > 0)

    @property
    def penalty_metrics(self) -> tuple[str, ...]:
        """Names of what `penalties` reports."""
        weights = {"velocity_distance": self.kl_weight, "norm_excess": self.norm_weight}
        return tuple(name for name, weight in weights.items() if weight > 0)
