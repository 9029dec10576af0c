"""A reward in another process or on another machine: images go there as PNG, scores come back (protocol.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.config.bounds import Images, Seconds
from fdfo.errors import RewardError
from fdfo.rewards.endpoint import Endpoint
from fdfo.rewards.protocol import NAME_PATH, SCORE_PATH, read_reply, request, served_name


class Remote:
    """Whatever `fdfo serve-reward` serves at an address, or any server that speaks the protocol."""

    differentiable = False
    remote = True

    def __init__(
        self,
        *,
        url: str = "http://127.0.0.1:8765",
        batch_size: Images = 32,
        timeout_s: Seconds = 120.0,
        patience_s: Seconds = 600.0,
        key_variable: str | None = None,
    ):
        """batch_size images go into a request, which is answered within timeout_s.

        A server that is away is waited for, up to patience_s. key_variable names the environment variable with the key
        that the server asks for. Raises RewardError for unusable options.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise RewardError(f"reward 'remote': batch_size must be a whole number from 1, got {batch_size!r}")
        self._endpoint = Endpoint("remote", url, timeout_s=timeout_s, patience_s=patience_s, key_variable=key_variable)
        self._batch_size = batch_size
        self._served: str | None = None
        """What the server called its reward when it was greeted."""

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Greet the server. Raises RewardError when it is not there or speaks something else."""
        self._endpoint.check_key()
        try:
            self._served = served_name(self._endpoint.exchange(NAME_PATH))
        except ValueError as error:
            raise RewardError(
                f"{self._endpoint.name} answers with {error}; start a server with `fdfo serve-reward NAME`"
            ) from error

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float64, as sent, on the CPU of images [B, 3, H, W] in [0, 1], rounded to levels of 1/255.

        Raises RewardError when the server gives none, or has become one of another reward.
        """
        scores: list[float] = []
        for start in range(0, len(images), self._batch_size):
            rows = slice(start, start + self._batch_size)
            payload = self._endpoint.exchange(SCORE_PATH, request(images[rows], prompts[rows], metadata[rows]))
            try:
                scores += read_reply(payload, len(images[rows]))
                self._check_name(served_name(payload))
            except ValueError as error:
                raise RewardError(f"{self._endpoint.name} answers with {error}") from error
        return torch.tensor(scores, dtype=torch.float64)

    def _check_name(self, name: str | None) -> None:
        if None not in (name, self._served) and name != self._served:
            raise RewardError(
                f"{self._endpoint.name} serves {name!r} now, and served {self._served!r} when the run began; start the "
                "former server there again, then repeat the command"
            )
