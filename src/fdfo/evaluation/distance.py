"""How far the images of one set of weights are from another's, as distributions: KID and FID, by torchmetrics.

Kernel inception distance (arXiv:1801.01401) and Fréchet inception distance (arXiv:1706.08500), in Inception's features
or in others. Both need many images: FID, which is biased, more of them than there are features.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import Module

from fdfo.errors import ConfigError, install_advice
from fdfo.evaluation.diversity import Features
from fdfo.evaluation.pictures import picture_files

INCEPTION = "inception"
SUBSET = 1000
"""Images of a subset of KID, as published; fewer where there are fewer."""

BATCH = 32


@dataclass(frozen=True)
class Distance:
    """KID and FID; `images` of each side."""

    kid: float
    kid_std: float | None
    """Standard deviation over random subsets; None where every subset is the whole set."""
    fid: float
    images: int


def distances(base: Path, others: Sequence[Path], features: Features | None, device: torch.device) -> list[Distance]:
    """Of the images (PNG, the same number in every folder) of each of `others` to those of `base`.

    features map images [B, 3, H, W] in [0, 1] to [B, D]; None: Inception's 2048, which torch-fidelity fetches. The
    subsets of KID are the same in every call. Raises ConfigError without torchmetrics, or for fewer than 2 images.
    """
    files = {folder: picture_files(folder) for folder in (base, *others)}
    if len({tuple(path.name for path in paths) for paths in files.values()}) > 1:
        raise ConfigError("--distance", ["the folder does not hold the same images of all; give a new --output folder"])
    count = len(files[base])
    if count < 2:
        raise ConfigError("--distance", [f"needs at least 2 images of each, found {count}; raise --count or --images"])
    metrics = _metrics(features, min(SUBSET, count), files[base][0], device)
    _update(metrics, files[base], device, real=True)
    return [_distance(metrics, files[other], device) for other in others]


def _distance(metrics: tuple[Any, Any], paths: Sequence[Path], device: torch.device) -> Distance:
    kid, fid = metrics
    for metric in metrics:
        metric.reset()  # keeps the base's features
    _update(metrics, paths, device, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mean, spread = kid.compute()
    return Distance(
        kid=float(mean),
        kid_std=float(spread) if len(paths) > SUBSET else None,
        fid=float(fid.compute()),
        images=len(paths),
    )


def _update(metrics: Sequence[Any], paths: Sequence[Path], device: torch.device, *, real: bool) -> None:
    for images in _batches(paths, device):
        for metric in metrics:
            metric.update(images, real=real)


def _metrics(features: Features | None, subset: int, sample: Path, device: torch.device) -> tuple[Any, Any]:
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance

        normalize = features is None
        network = 2048 if features is None else _Extractor(features, next(_batches([sample], device)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*save all extracted features")  # 8 KB an image
            kid = KernelInceptionDistance(network, subset_size=subset, normalize=normalize, reset_real_features=False)
        fid = FrechetInceptionDistance(network, normalize=normalize, reset_real_features=False)
    except ModuleNotFoundError as error:
        fix = install_advice("torchmetrics", "torch-fidelity")
        raise ConfigError(
            "--distance", [f"needs torchmetrics, and inception torch-fidelity ({error}); {fix}"]
        ) from error
    return kid.to(device), fid.set_dtype(torch.float64).to(device)


class _Extractor(Module):
    """Features as torchmetrics takes them."""

    def __init__(self, features: Features, sample: Tensor):
        super().__init__()
        self._features = features
        self.num_features = self(sample).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, D] of images [B, 3, H, W]."""
        with torch.no_grad():
            return self._features(images.float()).float()


def _batches(paths: Sequence[Path], device: torch.device) -> Iterator[Tensor]:
    """Images [B, 3, H, W] in [0, 1]."""
    for start in range(0, len(paths), BATCH):
        levels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]])
        yield torch.from_numpy(levels).to(device).permute(0, 3, 1, 2).float() / 255
