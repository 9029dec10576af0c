"""What a run does for its next epoch while people choose from the pairs of this one.

Its prompts are known, and how they are encoded depends on no weights in training. Its pictures are another matter: they
are drawn with the weights that the choices under way have yet to make, and those of older weights would be the samples
of another method, off its policy.
"""

from collections.abc import Sequence

from fdfo.records import Prompt
from fdfo.training.batching import share
from fdfo.training.engine import Engine


def encode_ahead(engine: Engine, prompts: Sequence[Prompt], next_prompts: Sequence[Prompt]) -> None:
    """Where people are asked, encode this process's share of all next prompts, and keep its own for the update."""
    if not engine.reward.asked.names:
        return
    ahead = next_prompts[share(len(next_prompts), engine.team.rank, engine.team.size)]
    with engine.phases("encode"):
        engine.policy.prepare([prompt.text for prompt in (*prompts, *ahead)], watch=engine.stop.check)
