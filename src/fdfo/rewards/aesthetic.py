"""How pleasing a picture is, by LAION's predictors on CLIP-L/14: about 1 to 10, whatever the prompt.

Reference: github.com/christophschuhmann/improved-aesthetic-predictor (the MLP of simple_inference.py) and
github.com/LAION-AI/aesthetic-predictor (the linear one). Departures: none. The MLP has no activations, and its dropout
is off.

B images, D width of the CLIP embedding.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import linear, normalize

from fdfo.config.bounds import Images
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.rewards.pickled import published_file, read_pickled
from fdfo.rewards.pretrained import explained


class Aesthetic:
    """A published head on L2-normalised image embeddings; differentiable with respect to the images."""

    differentiable = True

    def __init__(
        self,
        *,
        head: str = "trl-lib/ddpo-aesthetic-predictor",
        head_file: str = "aesthetic-model.pth",
        head_revision: str | None = None,
        model: str = "openai/clip-vit-large-patch14",
        revision: str | None = None,
        batch_size: Images = 32,
        dtype: str = "float32",
    ):
        """head is a folder or hub id and head_file the file there: safetensors, or what torch.save wrote.

        The default is sac+logos+ava1-l14-linearMSE, as DDPO uses it. model is the CLIP that it was trained on, and
        revision pins that. Raises RewardError for unusable options.
        """
        self._clip = ContrastiveScore("aesthetic", model=model, revision=revision, batch_size=batch_size, dtype=dtype)
        self._head, self._head_file, self._head_revision = head, head_file, head_revision
        self._layers: list[tuple[Tensor, Tensor]] = []

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the CLIP in `dtype` and the head in float32. Raises RewardError when one cannot be used."""
        self._clip.load(device, dtype)
        with explained("aesthetic", self._head, self._head_revision):
            path = published_file(self._head, self._head_file, self._head_revision)
            self._layers = [(weight.to(device), bias.to(device)) for weight, bias in read_head(path)]

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return self._clip.networks

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, object]]) -> Tensor:
        """Scores [B] float32, on the device of `load`, of images [B, 3, H, W] in [0, 1]; prompts are not read."""
        assert self._layers, "load() comes first"
        rows = normalize(self._clip.image_features(images), dim=-1)  # [B, D]
        for weight, bias in self._layers:
            rows = linear(rows, weight, bias)
        return rows.squeeze(-1)

    def image_features(self, images: Tensor) -> Tensor:
        """CLIP embeddings [B, D] float32 of images [B, 3, H, W] in [0, 1]."""
        return self._clip.image_features(images)


def read_head(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weights [out, in] and biases [out], float32, of a chain of affine maps to one number, in order.

    Accepted names: `weight` and `bias`, or `layers.0.weight` and so on. Raises ValueError for anything else.
    """
    tensors = read_pickled(path, dict)
    stems = sorted({name.rpartition(".")[0] for name in tensors}, key=_position)
    if tensors.keys() != {f"{stem}.{kind}".lstrip(".") for stem in stems for kind in ("weight", "bias")}:
        raise ValueError(f"{path.name} is no chain of affine maps: it holds {', '.join(sorted(tensors)[:6])}")
    layers = [tuple(tensors[f"{stem}.{kind}".lstrip(".")].float() for kind in ("weight", "bias")) for stem in stems]
    shapes = [tuple(weight.shape) for weight, _ in layers]
    if shapes[-1][0] != 1 or any(before[0] != after[1] for before, after in pairwise(shapes)):
        raise ValueError(f"{path.name} is no chain of affine maps to one number: weights of shapes {shapes}")
    return layers  # type: ignore[return-value]


def _position(stem: str) -> int:
    number = stem.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0
