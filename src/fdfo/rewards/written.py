"""A vision-language model that writes what it thinks of images; each score has its question, and reads the answer.

B images with one prompt each, n images in each conversation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Module

from fdfo.errors import RewardError
from fdfo.rewards.questions import defused, fill
from fdfo.rewards.vlm_network import VlmNetwork, load_network, option_problems


class WrittenScore:
    """The model, its question, and the texts that it writes."""

    differentiable = False
    images = 1
    """Images of a conversation."""
    name = ""
    question = ""
    longest_answer = 512
    """Tokens."""

    def __init__(
        self,
        problems: Sequence[str],
        *,
        model: str,
        revision: str | None,
        batch_size: int,
        dtype: str,
        quantize: str | None,
    ):
        """Check the options that all such scores have. Raises RewardError for unusable ones, with other `problems`."""
        if found := [*problems, *option_problems(model, batch_size, dtype, quantize)]:
            raise RewardError(f"reward {self.name!r}: " + "; ".join(found))
        self._model, self._revision = model, revision
        self._batch_size, self._dtype, self._quantize = batch_size, getattr(torch, dtype), quantize
        self._network: VlmNetwork | None = None

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the model in the dtype of the options. Raises RewardError when it cannot be used."""
        place = torch.device(device)
        self._network = load_network(self.name, self._model, self._revision, place, self._dtype, self._quantize)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self.network.module]

    @property
    def network(self) -> VlmNetwork:
        assert self._network is not None, "load() comes first"
        return self._network

    def answers(self, images: Tensor, prompts: Sequence[str]) -> list[str]:
        """Answers to the question about images [B, n, 3, H, W]."""
        special = self.network.special_tokens
        texts = [self.network.render(fill(self.question, defused(one, special)), self.images) for one in prompts]
        found = []
        for start in range(0, len(texts), self._batch_size):
            rows = slice(start, start + self._batch_size)
            found += self.network.answers(images[rows].flatten(0, 1), texts[rows], self.longest_answer)
        return found

    def as_scores(self, values: Sequence[float]) -> Tensor:
        """[B] float32 on the network's device."""
        return torch.tensor(values, dtype=torch.float32, device=self.network.device)
