"""The features in which diversity is measured: those of a score, plain pixels, or DreamSim."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

from fdfo.errors import ConfigError, first_line, install_advice, nearest
from fdfo.evaluation.diversity import Features
from fdfo.files import cache_folder

EMBEDDED = 64
"""Images that DreamSim embeds at a time."""

PIXELS, DREAMSIM = "pixels", "dreamsim"


def diversity_features(choice: str | None, embedders: Mapping[str, Features]) -> Features:
    """Features by name: `pixels`, `dreamsim`, or one of the scores that embed images; None takes the first of those.

    `embedders` are those of the scores, by name. Raises ConfigError for a choice that there is not, or not here.
    """
    if choice is None:
        choice = next(iter(embedders), PIXELS)
    if choice == PIXELS:
        return pixel_features
    if choice == DREAMSIM:
        return DreamSim()
    if choice not in embedders:
        known = [PIXELS, DREAMSIM, *embedders]
        raise ConfigError("the diversity", [f"eval.diversity={choice!r} has no features; {nearest(choice, known)}"])
    features = embedders[choice]
    return lambda images: normalize(features(images).float(), dim=1)


def pixel_features(images: Tensor) -> Tensor:
    """Colours on an 8 x 8 grid, scaled to length 1: [B, 192]. Needs no model; sees layout and colour only."""
    return normalize(adaptive_avg_pool2d(images, 8).flatten(1), dim=1)


def load_features(features: Features, device: torch.device) -> None:
    """Fetch and load features that have a network of their own, which no score loads. Raises ConfigError."""
    if isinstance(features, DreamSim):
        features.load(device)


class DreamSim:
    """Embeddings of the ensemble of DreamSim (arXiv:2306.09344), as its package scales them.

    Needs the [metrics] extra, which needs torchvision; that package fetches the weights on first use, into
    `fdfo/dreamsim` below $XDG_CACHE_HOME or ~/.cache. It does not expect several processes to do so at once.
    """

    def __init__(self):
        """Raises ConfigError where the package is missing: now, and not at the first images."""
        self._make = _dreamsim_maker()
        self.model: Any = None
        self._device = torch.device("cpu")

    def load(self, device: torch.device) -> None:
        """Fetch the weights where they are not in the cache. Raises ConfigError."""
        self._device, folder = device, cache_folder("dreamsim")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.model, _ = self._make(
                pretrained=True, device=str(device), cache_dir=str(folder), normalize_embeds=True
            )
        except OSError as error:
            raise ConfigError("the diversity", [f"dreamsim cannot load its weights: {first_line(error)}"]) from error

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of images [B, 3, H, W] in [0, 1], wherever they are, after `load`."""
        with torch.no_grad():
            return torch.cat([self._embed(piece.to(self._device)) for piece in images.split(EMBEDDED)])

    def _embed(self, images: Tensor) -> Tensor:
        resized = interpolate(images, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        return self.model.embed(resized).reshape(len(images), -1)


def _dreamsim_maker() -> Any:
    """The package's function that loads its model."""
    try:
        from dreamsim import dreamsim  # type: ignore[import-not-found]
    except ImportError as error:
        fix = install_advice("dreamsim")
        raise ConfigError("the diversity", [f"eval.diversity='dreamsim' needs dreamsim ({error}); {fix}"]) from error
    return dreamsim
