"""Scores outside a run, ready to be asked."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fdfo.config.load import reward_entries
from fdfo.rewards.weighted import WeightedSum


def load(
    *scores: str | Mapping[str, Any] | Callable[..., Any], device: torch.device | str | None = None
) -> WeightedSum:
    """The weighted sum of some scores, loaded: `score(images, prompts)` gives one number for each image.

    Each is a name or preset, a function or class of yours, or an entry as in a recipe, such as
    `{"name": "clip", "weight": 0.5}`. device defaults to CUDA where there is one. Raises ConfigError or RewardError for
    what cannot be used, with the fix.
    """
    reward = WeightedSum(reward_entries(scores, "fdfo.rewards.load"))
    reward.load(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")), torch.float32)
    return reward
