"""A score learned from choices, by `fdfo choices fit`: a folder with a head on frozen features.

learned.json says which features, and how it came about; head.safetensors holds `weights` [D] float32.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from fdfo.errors import RewardError
from fdfo.files import at_home, save_tensors, write_json
from fdfo.own import read_json, sound
from fdfo.rewards.davidson import Head
from fdfo.rewards.embedding import Embedding

ABOUT, WEIGHTS = "learned.json", "head.safetensors"


class About(BaseModel):
    """Content of learned.json."""

    model_config = ConfigDict(extra="forbid")

    features: str
    model: str | None
    """Model of the features, in place of the published one."""
    log_tie: float
    """log nu of Davidson's model, see davidson.py."""
    ridge: float
    choices: int
    prompts: int
    accuracy: dict[str, tuple[float, float, float]]
    """Accuracy of this score and of others on the same held-out choices: mean over prompts with its interval."""


def save(folder: Path, head: Head, about: About) -> None:
    """Write the folder, which exists. Raises OSError."""
    save_tensors({"weights": torch.from_numpy(head.weights).float()}, folder / WEIGHTS)
    write_json(folder / ABOUT, about.model_dump())


class Learned:
    """What people chose, learned by `fdfo choices fit`: differences are log odds of the choice, ties aside."""

    differentiable = True

    def __init__(self, *, path: str):
        """path is the folder. Raises RewardError where it holds none."""
        folder, problems = at_home(path), []

        def complain(file: Path, why: str) -> None:
            problems.append(f"{file.name}: {why}")

        about = sound(folder / ABOUT, lambda file: About.model_validate(read_json(file)), complain)
        weights = sound(folder / WEIGHTS, lambda file: load_file(file)["weights"], complain)
        if about is None or weights is None:
            raise RewardError(
                f"reward 'learned': {path} is no learned score ({'; '.join(problems)}); "
                "make one with `fdfo choices fit RUN -o taste`"
            )
        self._embedding, self._weights = Embedding(about.features, about.model), weights
        self._path = path

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network of its features. Raises RewardError."""
        self._embedding.load(device, dtype)
        self._weights = self._weights.to(device)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return self._embedding.network.networks

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1] for one prompt each."""
        rows = self._embedding(images, prompts)
        if rows.shape[1] != len(self._weights):
            raise RewardError(
                f"reward 'learned': {self._path} was fitted on {len(self._weights)} features, and its network gives "
                f"{rows.shape[1]}: it is another model than then; fit it again"
            )
        return rows @ self._weights
