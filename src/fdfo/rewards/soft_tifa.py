"""Questions of each prompt, asked of a vision-language model: soft TIFA, as in GenEval 2 (arXiv:2512.16853).

A prompt brings pairs of a question and its answer. The chance of an answer is that of its first token, summed over the
ways to write it: as it stands, in small letters, with a capital, as a number in digits, each also behind a space. A
score is the mean over a prompt's questions: arithmetic, which GenEval 2 calls AM and reads by atom, or geometric, GM,
which it reads by prompt.

Reference: evaluation.py of github.com/facebookresearch/GenEval2, `soft_tifa` and `send_message_with_image`, read in a
repetition of it: the text of the question, the first token, the ways to write an answer. Departures:
1. Ways to write an answer that begin with the same token count once.

B images with one prompt each, R rows (an image and a question).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.rewards.questions import defused
from fdfo.rewards.vlm_network import VlmNetwork

Mean = Literal["arithmetic", "geometric"]
MEANS = get_args(Mean)

ASKED = "{question} Answer in one word."
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class PromptQuestions:
    """The questions in one field of the prompts' metadata."""

    def __init__(self, reward: str, field: str, mean: Mean, batch_size: int):
        """`reward` is the name for messages; batch_size counts rows."""
        self._reward, self._field, self._mean, self._batch_size = reward, field, mean, batch_size

    def __call__(
        self, network: VlmNetwork, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Mean chances [B] float32 of images [B, 3, H, W] in [0, 1]; NaN for a prompt that brings no question.

        Raises RewardError for a field of another kind.
        """
        pairs = [self._pairs(entry, prompt) for entry, prompt in zip(metadata, prompts, strict=True)]
        owners = [i for i, asked in enumerate(pairs) for _ in asked]  # [R]
        rows = [pair for asked in pairs for pair in asked]
        if not rows:
            return torch.full((len(prompts),), torch.nan, device=network.device)
        texts = [network.render(ASKED.replace("{question}", defused(q, network.special_tokens))) for q, _ in rows]
        tokens = [network.first_tokens(spellings(answer)) for _, answer in rows]
        chances = torch.cat(
            [
                network.log_chances(images[owners[i : i + self._batch_size]], texts[i : i + self._batch_size], part)
                for i in range(0, len(rows), self._batch_size)
                for part in [tokens[i : i + self._batch_size]]
            ]
        )  # [R]
        ends = list(accumulate((len(asked) for asked in pairs), initial=0))
        return torch.stack([self._averaged(chances[start:end]) for start, end in pairwise(ends)])

    def _averaged(self, log_chances: Tensor) -> Tensor:
        """The mean chance of one image; NaN if it has no question."""
        return log_chances.mean().exp() if self._mean == "geometric" else log_chances.exp().mean()

    def _pairs(self, metadata: Mapping[str, Any], prompt: str) -> list[tuple[str, str]]:
        given = metadata.get(self._field, [])
        listed: list[Any] = given if isinstance(given, list) else [None]
        pairs = [[one, "Yes"] if isinstance(one, str) else one for one in listed]
        if not all(isinstance(one, list | tuple) and len(one) == 2 and all(map(_is_text, one)) for one in pairs):
            raise RewardError(
                f"reward {self._reward!r}: {self._field} of {prompt[:80]!r} is {given!r:.80}; expected a list of "
                "[question, answer] pairs, or of questions whose answer is Yes"
            )
        return [(question, answer) for question, answer in pairs]


def spellings(answer: str) -> list[str]:
    """The ways to write an answer of one word."""
    words = [answer, answer.lower(), answer.capitalize()]
    if answer.lower() in NUMBERS:
        words.append(str(NUMBERS.index(answer.lower())))
    return [space + word for word in dict.fromkeys(words) for space in ("", " ")]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
