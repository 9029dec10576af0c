"""What can be told from the pixels of a picture of the shapes world, as rewards."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.shapes.neatness import neatness
from fdfo.shapes.render import Array, magnification_of
from fdfo.shapes.verifier import judge
from fdfo.words import plural


class _ByPixels:
    """A score of one picture of the shapes world at a time, on the CPU."""

    name: str
    differentiable = False

    def load(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Nothing to load."""

    def __call__(
        self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, object] | None]
    ) -> Tensor:
        """Scores [B] float32 on the CPU of images [B, 3, 32 m, 32 m] in [0, 1], one prompt each; metadata is not used.

        NaN where a picture cannot be judged: a pixel is not finite, or what the score itself says.
        Raises RewardError for pictures of another size or a number of prompts other than B.
        """
        try:
            magnification_of(images.shape[1:])
        except ValueError as error:
            raise RewardError(f"{self.name}: {error}; use it with a shapes model at its own resolution") from error
        if len(prompts) != len(images):
            raise RewardError(f"{self.name} got {plural(len(images), 'image')} but {plural(len(prompts), 'prompt')}")
        arrays = images.detach().float().cpu().numpy()
        scores = [
            self.score(array, prompt) if np.isfinite(array).all() else float("nan")
            for array, prompt in zip(arrays, prompts, strict=True)
        ]
        return torch.from_numpy(np.array(scores, np.float32))

    def score(self, image: Array, prompt: str) -> float:
        """Of one finite picture [3, 32 m, 32 m]."""
        raise NotImplementedError


class ShapesVerifier(_ByPixels):
    """How well a picture shows its caption, from 0 to 1; with `strict`, 1 for a perfect picture and 0 else.

    NaN for a prompt that is no caption of the grammar.
    """

    name = "shapes-verifier"

    def __init__(self, *, strict: bool = False):
        self.strict = strict

    def score(self, image: Array, prompt: str) -> float:
        """Of one finite picture [3, 32 m, 32 m]."""
        verdict = judge(image, prompt)
        if verdict is None:
            return float("nan")
        return float(verdict.passed) if self.strict else verdict.graded


class ShapesNeatness(_ByPixels):
    """How neatly a picture is drawn, from 0 to 1, whatever its prompt."""

    name = "shapes-neatness"

    def score(self, image: Array, prompt: str) -> float:
        """Of one finite picture [3, 32 m, 32 m]."""
        return neatness(image)
