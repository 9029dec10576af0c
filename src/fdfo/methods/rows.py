"""Makes trainable rows from the samples of a rollout. B samples, K rows of each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams
from fdfo.records import Prompt, Rollout, Scores


def numbers_of(prompts: Sequence[Prompt], group_size: int) -> list[int]:
    """Global numbers of the samples of a rollout before it is made; they key the noise."""
    return [prompt.number * group_size + i for prompt in prompts for i in range(group_size)]


def rotated(numbers: Sequence[int], noise: NoiseStreams, places: int) -> Tensor:
    """A place in range(places) for every number: [n] int64.

    All places equally often in an epoch, so that its cost is known, and for every number the next one in the next
    epoch; which prompt has which number is random (prompts/source.py).
    """
    assert noise.epoch is not None
    return (torch.tensor(numbers, dtype=torch.int64) + noise.epoch) % places


def valid_samples(scores: Scores, group_size: int) -> Tensor:
    """Samples [B] bool, on the CPU, of the groups in which every score is valid."""
    return scores.total.isfinite().reshape(-1, group_size).all(1).repeat_interleave(group_size)


def shared_fields(rollout: Rollout, valid: Tensor, times: int) -> dict[str, Any]:
    """The fields that every Items has, for `times` rows of each valid sample."""
    numbers = torch.tensor(rollout.sample_numbers)
    return {
        "prompts": rollout.prompts,
        "conditioning": rollout.conditioning,
        "prompt_row": rollout.prompt_rows[valid][:, None].expand(-1, times),
        "sample_number": numbers[valid][:, None].expand(-1, times),
    }
