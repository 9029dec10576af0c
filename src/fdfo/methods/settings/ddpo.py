"""Settings of DDPO; see methods/ddpo.py."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fdfo.config.bounds import Count, Images
from fdfo.methods.settings.transitions import TransitionConfig


class DdpoConfig(TransitionConfig):
    """Defaults are the published setting, on Flow-GRPO's sampler."""

    name: Literal["ddpo"] = "ddpo"
    form: Literal["importance", "score_function"] = "importance"
    """importance: clipped ratio, for several updates an epoch (DDPO-IS, the paper's better one); score_function:
    REINFORCE, right for one update an epoch only (DDPO-SF)."""
    images_per_prompt: Images = 1
    """Images of a prompt in an epoch. The paper trains on few prompts, each of which comes several times in a batch."""
    buffer_size: Annotated[Count, Field(ge=2)] = 32
    """Last scores of each prompt that make its mean and deviation (DDPO: 32)."""
    needed_scores: Annotated[Count, Field(ge=2)] = 32
    """Scores that a prompt needs before its own statistics replace those of the batch."""

    @model_validator(mode="after")
    def _buffer_can_fill(self) -> "DdpoConfig":
        if self.needed_scores > self.buffer_size:
            raise ValueError(
                f"needed_scores={self.needed_scores} exceeds buffer_size={self.buffer_size}; use at most that"
            )
        return self
