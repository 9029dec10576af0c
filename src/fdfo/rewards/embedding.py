"""Frozen features of pictures that a preference is learned on: an embedding of length 1 and, where texts have one too,
its cosine with the prompt's.

B images with one prompt each, D features.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import normalize

from fdfo.config.bounds import Images
from fdfo.errors import RewardError, nearest
from fdfo.hub import quiet_loading
from fdfo.rewards.clip import ClipScore, PickScore, ShapesContrastive
from fdfo.rewards.preprocess import ClipPreprocess
from fdfo.rewards.pretrained import explained, read_config


class DinoV2:
    """Embeddings of pictures by DINOv2 (arXiv:2304.07193), which has seen no texts: layout, things, style."""

    def __init__(self, *, model: str = "facebook/dinov2-base", revision: str | None = None, batch_size: Images = 32):
        """model is a folder or hub id."""
        self._model, self._revision, self._batch_size = model, revision, batch_size
        self._network: Any = None
        self._preprocess: ClipPreprocess | None = None
        self._device = torch.device("cpu")

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network, frozen. Raises RewardError where it cannot be found, reached or read."""
        from transformers import Dinov2Model, ImageProcessingMixin

        with explained("dinov2", self._model, self._revision), quiet_loading():
            kind = read_config(self._model, self._revision).get("model_type")
            if kind != "dinov2":
                raise ValueError(f"it is a {kind!r} model; these features take a 'dinov2' model")
            config, _ = ImageProcessingMixin.get_image_processor_dict(self._model, revision=self._revision)
            self._preprocess = ClipPreprocess.from_config(config)
            where: dict[str, Any] = {"revision": self._revision}
            network: Any = Dinov2Model.from_pretrained(self._model, **where, use_safetensors=True, dtype=dtype)
        self._network, self._device = network.requires_grad_(False).eval().to(device), torch.device(device)

    @property
    def networks(self) -> list[Module]:
        """What `offload` moves."""
        return [self._network]

    def image_features(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] float32 of images [B, 3, H, W] in [0, 1]: the class token after the last normalisation."""
        assert self._preprocess is not None, "load() comes first"
        parts = []
        for piece in images.split(self._batch_size):
            pixels = self._preprocess(piece.to(self._device, torch.float32)).to(self._network.dtype)
            parts.append(self._network(pixel_values=pixels).pooler_output.float())
        return torch.cat(parts)


FEATURES: dict[str, Callable[..., Any]] = {
    "clip": ClipScore,
    "pickscore": PickScore,
    "dinov2": DinoV2,
    "shapes-contrastive": ShapesContrastive,
}
"""Networks of features by name."""


class Embedding:
    """Features of pictures by one of these networks."""

    def __init__(self, name: str, model: str | None):
        """model: a folder or hub id in place of the published one. Raises RewardError for what there is not."""
        if name not in FEATURES:
            raise RewardError(f"features {name!r}: {nearest(name, list(FEATURES))}; there are {', '.join(FEATURES)}")
        if name == "shapes-contrastive" and model is not None:
            raise RewardError("features 'shapes-contrastive' are in the package and take no other model; use 'clip'")
        self.network = FEATURES[name](**({} if model is None else {"model": model}))

    @property
    def reads_prompts(self) -> bool:
        """Whether the last feature is the cosine of picture and prompt, which orders pictures as the ready score."""
        return hasattr(self.network, "text_features")

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network. Raises RewardError."""
        self.network.load(device, dtype)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Features [B, D] float32 of images [B, 3, H, W] in [0, 1], differentiable with respect to them."""
        rows = normalize(self.network.image_features(images), dim=1)
        if not self.reads_prompts:
            return rows
        distinct = list(dict.fromkeys(prompts))
        texts = normalize(self.network.text_features(distinct), dim=1)
        cosine = (rows * texts[[distinct.index(prompt) for prompt in prompts]]).sum(1, keepdim=True)
        return torch.cat([rows, cosine], 1)
