"""Fits a head on frozen features to what people chose in runs, and measures it on choices that it did not see.

N choices.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fdfo.rewards.davidson import Comparisons
from fdfo.rewards.embedding import Embedding
from fdfo.rewards.weighted import WeightedSum
from fdfo.studio.choices import Choice, Journal
from fdfo.studio.pairs import pictures_of

PICTURES = 64
"""Pairs in memory at a time."""


@dataclass(frozen=True)
class Chosen:
    """Choices between pictures that are there."""

    rows: list[tuple[Path, Choice]]
    """Choices with the folder of their run."""
    skipped: int
    missing: int
    """Number of choices whose pictures are gone."""

    @property
    def signs(self) -> np.ndarray:
        """[N] 1: the first picture; -1: the second; 0: no preference."""
        return np.array([{"first": 1, "second": -1, "tie": 0}[choice.chosen] for _, choice in self.rows])

    @property
    def prompts(self) -> np.ndarray:
        """[N] numbers of the prompts."""
        numbers = {text: number for number, text in enumerate(dict.fromkeys(choice.prompt for _, choice in self.rows))}
        return np.array([numbers[choice.prompt] for _, choice in self.rows])

    @property
    def sided_prompts(self) -> int:
        """Number of prompts for which a side was chosen."""
        return len({choice.prompt for _, choice in self.rows if choice.chosen != "tie"})

    def without(self, pairs: Collection[str]) -> "Chosen":
        """The choices without those of these pairs."""
        return replace(self, rows=[row for row in self.rows if row[1].pair not in pairs])


def chosen_in(runs: Sequence[Path]) -> Chosen:
    """Read what people chose in run folders, without repetitions."""
    every = [(run, choice) for run in runs for choice in Journal(run).choices() if not choice.repeat]
    sided = [(run, choice) for run, choice in every if choice.chosen != "skip"]
    there = [(run, choice) for run, choice in sided if all(path.is_file() for path in _pictures(run, choice))]
    return Chosen(there, len(every) - len(sided), len(sided) - len(there))


class Differences:
    """Differences of the features of pairs, which a loaded embedding computes once for each pair."""

    def __init__(self, embedding: Embedding):
        self._embedding = embedding
        self._known: dict[str, np.ndarray] = {}
        """Rows [D] by pair."""

    def of(self, chosen: Chosen) -> Comparisons:
        """The differences of all choices, several of which may be about one pair."""
        new = {choice.pair: (run, choice) for run, choice in chosen.rows if choice.pair not in self._known}
        with torch.no_grad():
            parts = [self._embedding(images, prompts).cpu() for images, prompts in _batches(list(new.values()))]
        if parts:
            rows = torch.cat(parts).double().numpy()
            self._known.update(zip(new, rows[0::2] - rows[1::2], strict=True))
        return Comparisons(
            np.stack([self._known[choice.pair] for _, choice in chosen.rows]), chosen.signs, chosen.prompts
        )


def ready_gaps(chosen: Chosen, scores: WeightedSum) -> Mapping[str, np.ndarray]:
    """For each loaded score of single images, the score of the first picture less that of the second, [N]."""
    if not scores.names:
        return {}
    parts: dict[str, list[Tensor]] = {name: [] for name in scores.names}
    with torch.no_grad():
        for images, prompts in _batches(chosen.rows):
            metadata: list[Mapping[str, Any]] = [{} for _ in prompts]
            for name, values in scores.components(images, prompts, metadata, group_size=2).items():
                parts[name].append(values.cpu().double())
    joined = {name: torch.cat(values).numpy().reshape(-1, 2) for name, values in parts.items()}
    return {name: np.nan_to_num(values[:, 0] - values[:, 1]) for name, values in joined.items()}


def _batches(rows: Sequence[tuple[Path, Choice]]) -> Iterator[tuple[Tensor, list[str]]]:
    """Images [2B, 3, H, W] of choices, first and second by turns, with their prompts; of one size in a batch."""
    batch: list[Tensor] = []
    prompts: list[str] = []
    for run, choice in rows:
        pair = [_read(path) for path in _pictures(run, choice)]
        if batch and (len(batch) >= PICTURES or pair[0].shape != batch[0].shape):
            yield torch.stack(batch), prompts
            batch, prompts = [], []
        batch += pair
        prompts += [choice.prompt] * 2
    if batch:
        yield torch.stack(batch), prompts


def _pictures(run: Path, choice: Choice) -> list[Path]:
    return [pictures_of(run) / f"{name}.png" for name in (choice.first, choice.second)]


def _read(path: Path) -> Tensor:
    with Image.open(path, formats=["PNG"]) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
