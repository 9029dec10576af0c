"""The model that evaluations inside a run judge: the trained one, that at another size or guidance, or a sibling."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fdfo.config.tree import Config
from fdfo.interfaces import Policy, Weights
from fdfo.models.load import configured_policy, seen_otherwise
from fdfo.models.policy import FlowPolicy, of_pipeline


@dataclass(frozen=True)
class EvaluatedModel:
    """A trained policy, and the one whose images are judged."""

    trained: Policy
    policy: Policy
    sibling: FlowPolicy | None = None
    """The judged one where it has a network of its own, which is in host memory unless it is judged."""

    @contextmanager
    def having(self, weights: Weights) -> Iterator[Weights]:
        """Inside, the judged policy has those weights of the trained one, by the name that is given."""
        if self.sibling is None:
            yield weights
            return
        with self.sibling.standing_in(of_pipeline(self.trained), weights):
            yield "base" if weights == "base" else "current"


def evaluated_model(config: Config, trained: Policy) -> EvaluatedModel:
    """The model that `eval` of the configuration says. Raises ModelError where it cannot be loaded."""
    if config.evaluated_policy == config.policy:
        return EvaluatedModel(trained, trained)
    if config.eval.policy is None:
        return EvaluatedModel(trained, seen_otherwise(config.evaluated_policy, of_pipeline(trained)))
    trained = of_pipeline(trained)
    trained.weights.place("cpu")
    sibling = of_pipeline(
        configured_policy(config.evaluated_policy, adapter=config.policy.adapter, device=trained.device)
    )
    sibling.weights.place("cpu")
    trained.weights.place(trained.device)
    return EvaluatedModel(trained, sibling, sibling)
