"""`fdfo eval --distance`: KID and FID of each adapter's kept images to the base's."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from fdfo.commands.terminal import say
from fdfo.evaluation.distance import INCEPTION, distances
from fdfo.evaluation.diversity import Features
from fdfo.evaluation.features import diversity_features, load_features
from fdfo.evaluation.summary import BASE
from fdfo.files import write_json
from fdfo.words import plural


def distance_features(choice: str, embedders: Mapping[str, Features]) -> Features | None:
    """Features by name; None for Inception's. Raises ConfigError for a choice that there is not."""
    return None if choice == INCEPTION else diversity_features(choice, embedders)


def tell_distances(
    folder: Path, adapters: Sequence[str], choice: str, features: Features | None, device: torch.device
) -> None:
    """Print a line for each adapter, and write distances.json. Raises ConfigError."""
    images = folder / "images"
    if features is not None:
        load_features(features, device)
    measured = distances(images / BASE, [images / label for label in adapters], features, device)
    found = dict(zip(adapters, measured, strict=True))
    for label, one in found.items():
        say(f"{label} to base, {plural(one.images, 'image')} each, in features of {choice}: ", end="")
        spread = "" if one.kid_std is None else f" (std {one.kid_std:.2g} over subsets)"
        say(f"KID {one.kid:.4g}{spread}, FID {one.fid:.4g}")
    write_json(folder / "distances.json", {label: {"features": choice, **asdict(one)} for label, one in found.items()})
