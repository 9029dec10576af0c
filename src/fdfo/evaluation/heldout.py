"""Evaluation of a policy on held-out prompts: every score, diversity, what no score sees, and pictures to look at."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from fdfo.drawing import generate
from fdfo.evaluation.diversity import Features, diversity
from fdfo.evaluation.sharpness import sharpness
from fdfo.evaluation.statistics import Interval, bootstrap, paired_difference, per_prompt
from fdfo.files import finite
from fdfo.interfaces import Policy, Weights
from fdfo.own import read_json
from fdfo.records import Prompt

Judge = Callable[[Tensor, Sequence[Prompt]], Mapping[str, Tensor]]
"""Images [B, 3, H, W] and their prompts -> named scores, each [B]."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of every image; P prompts, k images each."""

    epoch: int
    prompts: list[str]
    categories: list[str | None]
    images_per_prompt: int
    steps: int
    scores: dict[str, list[float]]  # each [P k]
    diversity: list[float] | None  # [P]
    signals: dict[str, list[float]]  # velocity_rms and sharpness, each [P k]
    asked: dict[str, list[bool]] = field(default_factory=dict)
    """Which prompts [P] a score was asked about, of scores for some prompts only; the others are NaN in `scores`."""

    def values(self, name: str, category: str | None = None) -> np.ndarray:
        """Mean score of each prompt [P], of one category or all; signals and diversity under their own names.

        NaN where one of its images failed, or the score is not asked about the prompt.
        """
        if name == "diversity":
            values = np.asarray(self.diversity, dtype=np.float64)
        else:
            values = per_prompt((self.scores | self.signals)[name], self.images_per_prompt)
        if category is None:
            return values
        return values[[own == category for own in self.categories]]

    @property
    def failed(self) -> dict[str, int]:
        """Number of images that each score was asked about and could not judge."""
        k = self.images_per_prompt
        asked = {name: np.repeat(self.asked.get(name, [True] * len(self.prompts)), k) for name in self.scores}
        return {name: int((np.isnan(values) & asked[name]).sum()) for name, values in self.scores.items()}

    def asked_about(self, name: str, category: str | None = None) -> int:
        """Number of prompts that a score is asked about, of one category or of all."""
        asked = self.asked.get(name, [True] * len(self.prompts))
        return sum(one and category in (None, own) for one, own in zip(asked, self.categories, strict=True))

    @property
    def metrics(self) -> list[str]:
        """Names of the scores, and diversity where it was measured."""
        return [*self.scores, *(["diversity"] if self.diversity is not None else [])]

    @property
    def trained_score(self) -> str | None:
        """The name of the score that `reward` is, or `reward` where it is a sum; None where it was not measured."""
        if "reward" not in self.scores:
            return None
        reward = self.scores["reward"]
        same = [name for name, values in self.scores.items() if np.array_equal(values, reward, equal_nan=True)]
        return next((name for name in same if name != "reward"), "reward")

    @property
    def different_metrics(self) -> list[str]:
        """`metrics` without `reward` where that is one of the scores again."""
        return [name for name in self.metrics if name != "reward" or self.trained_score == "reward"]

    @property
    def category_names(self) -> list[str]:
        """Categories in order of appearance; none where the prompts have none."""
        return list(dict.fromkeys(name for name in self.categories if name is not None))

    def interval(self, name: str, category: str | None = None) -> Interval:
        """Mean over prompts with its interval."""
        return bootstrap(self.values(name, category))

    def gain(self, base: "Evaluation", name: str, category: str | None = None) -> Interval:
        """Paired difference to an evaluation of the same prompts and seeds."""
        return paired_difference(self.values(name, category), base.values(name, category))

    def to_json(self) -> str:
        """One JSON document that `read` reads back; NaN is written as null."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like content; NaN as None."""
        return finite(asdict(self))

    @staticmethod
    def read(path: Path) -> "Evaluation":
        """The evaluation in a file written from `to_json`. Raises OSError or ValueError for a damaged one."""
        content = read_json(path)
        for table in (content["scores"], content["signals"]):
            for name, values in table.items():
                table[name] = [float("nan") if value is None else value for value in values]
        evaluation = TypeAdapter(Evaluation).validate_python(content)
        prompts, images = len(evaluation.prompts), len(evaluation.prompts) * evaluation.images_per_prompt
        lengths = {images, *map(len, (evaluation.scores | evaluation.signals).values())}
        per_prompt = {prompts, len(evaluation.categories), len(evaluation.diversity or evaluation.prompts)}
        per_prompt |= {len(asked) for asked in evaluation.asked.values()}
        if len(lengths) > 1 or len(per_prompt) > 1 or not images:
            raise ValueError("its lists have different lengths")
        return evaluation


@dataclass(frozen=True)
class Judged:
    """What one process contributes to an evaluation: rows of its own prompts."""

    scores: dict[str, Tensor]  # each [B]
    features: Tensor  # [B, D], or [B, 0]
    signals: dict[str, Tensor]  # each [B]
    pictures: Tensor  # [n, 3, H, W] uint8, the first image of every prompt that is shown


def judge_prompts(
    policy: Policy,
    prompts: Sequence[Prompt],
    judge: Judge,
    *,
    steps: int,
    seed: int,
    images_per_prompt: int = 1,
    features: Features | None = None,
    shown: frozenset[int] = frozenset(),
    weights: Weights = "current",
    batch: int | None = None,
    at_once: bool = False,
    watch: Callable[[int], None] = lambda done: None,
) -> Judged:
    """Generate and score the images of `prompts`, `batch` images at a time.

    With `at_once` they are scored and embedded at the end, from host memory. `shown` are the numbers of the prompts
    whose pictures are kept; `watch` is told how many prompts are done.
    """
    measured = features if images_per_prompt > 1 else None

    def embed(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.zeros(len(images), 0) if measured is None else measured(images).float().cpu()

    scores: dict[str, list[Tensor]] = {}
    done = 0
    signals: dict[str, list[Tensor]] = {"velocity_rms": [], "sharpness": []}
    embedded, pictures, waiting = [], [], []
    options = {"steps": steps, "seed": seed, "images_per_prompt": images_per_prompt}
    for part in generate(policy, prompts, weights=weights, batch=batch, watch=lambda: watch(0), **options):
        watch(done)
        done += len(part.prompts)
        owners = [prompt for prompt in part.prompts for _ in range(images_per_prompt)]
        if at_once:
            waiting.append((part.images.cpu(), owners))
        else:
            _keep(scores, judge(part.images, owners))
            embedded.append(embed(part.images))
        signals["velocity_rms"].append(part.velocity_rms.cpu())
        signals["sharpness"].append(sharpness(part.images).cpu())
        first = part.images[::images_per_prompt]
        pictures.append(first[[prompt.number in shown for prompt in part.prompts]])
    if waiting:
        images, owners = zip(*waiting, strict=True)
        together = torch.cat(images)
        _keep(scores, judge(together, [prompt for part in owners for prompt in part]))
        embedded.append(embed(together))
    return Judged(
        scores={name: torch.cat(values) for name, values in scores.items()},
        features=torch.cat(embedded),
        signals={name: torch.cat(values) for name, values in signals.items()},
        pictures=(torch.cat(pictures).cpu() * 255).round().to(torch.uint8),
    )


def _keep(scores: dict[str, list[Tensor]], judged: Mapping[str, Tensor]) -> None:
    for name, values in judged.items():
        scores.setdefault(name, []).append(values.detach().cpu().double())


def evaluation_of(
    epoch: int,
    prompts: Sequence[Prompt],
    judged: Judged,
    *,
    steps: int,
    images_per_prompt: int,
    applied: Mapping[str, Tensor],
) -> Evaluation:
    """The record of the judged images of all prompts, in order; `applied` [P] of scores for some of them only."""
    has_features = judged.features.shape[1] > 0
    return Evaluation(
        epoch=epoch,
        prompts=[prompt.text for prompt in prompts],
        categories=[prompt.category for prompt in prompts],
        images_per_prompt=images_per_prompt,
        steps=steps,
        scores={name: values.tolist() for name, values in judged.scores.items()},
        diversity=diversity(judged.features, images_per_prompt).tolist() if has_features else None,
        signals={name: values.double().tolist() for name, values in judged.signals.items()},
        asked={name: asked.tolist() for name, asked in applied.items()},
    )
