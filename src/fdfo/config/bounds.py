"""Types of numbers, from the smallest to the largest that makes sense (limits.py)."""

from typing import Annotated

from pydantic import Field

from fdfo.limits import (
    LARGEST,
    LARGEST_BUDGET,
    LARGEST_SCORE,
    LARGEST_SEED,
    LONGEST_PLACE,
    MOST,
    MOST_GUIDANCE,
    MOST_IMAGES,
    MOST_LOGPROBS,
    MOST_PIXELS,
    MOST_PROCESSES,
    MOST_RANK,
    MOST_SECONDS,
    MOST_STEPS,
    MOST_TOKENS,
)

Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=-LARGEST_SCORE, le=LARGEST_SCORE, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=0.999_999)]
"""Decay of an average in float32, in which 1 - decay would be lost if it were closer to 1."""
Count = Annotated[int, Field(ge=1, le=MOST)]
CountFromZero = Annotated[int, Field(ge=0, le=MOST)]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
StepsFromZero = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Images = Annotated[int, Field(ge=1, le=MOST_IMAGES)]
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
Rank = Annotated[int, Field(ge=1, le=MOST_RANK)]
Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Seconds = Annotated[float, Field(gt=0, le=MOST_SECONDS, allow_inf_nan=False)]
Guidance = Annotated[float, Field(gt=0, le=MOST_GUIDANCE, allow_inf_nan=False)]
Processes = Annotated[int, Field(ge=1, le=MOST_PROCESSES)]
Logprobs = Annotated[int, Field(ge=1, le=MOST_LOGPROBS)]
Port = Annotated[int, Field(ge=0, lt=2**16)]
Quality = Annotated[int, Field(ge=1, le=100)]
Budget = Annotated[float, Field(gt=0, le=LARGEST_BUDGET, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Place = Annotated[str, Field(max_length=LONGEST_PLACE)]
