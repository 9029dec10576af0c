"""The verifier as a reward."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.shapes.scene import IMAGE_SIZE
from fdfo.shapes.verifier import Verdict, judge


class ShapesVerifier:
    """Scores 32x32 pictures of the shapes world from 0 to 1; with `strict`, 1 for a perfect picture and 0 else."""

    differentiable = False

    def __init__(self, *, strict: bool = False):
        self.strict = strict

    def load(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Nothing to load; the verifier works on the CPU."""

    def __call__(
        self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, object] | None]
    ) -> Tensor:
        """Scores [B] float32 on the CPU of images [B, 3, 32, 32] in [0, 1], one prompt each; metadata is not used.

        NaN where a picture cannot be judged: a pixel is not finite or the prompt is no caption of the grammar.
        Raises RewardError for pictures of another size or a number of prompts other than B.
        """
        if images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise RewardError(
                f"shapes-verifier scores images [B, 3, {IMAGE_SIZE}, {IMAGE_SIZE}], got {list(images.shape)}; "
                "use it with the shapes model at its own resolution"
            )
        if len(prompts) != len(images):
            raise RewardError(f"shapes-verifier got {len(images)} images but {len(prompts)} prompts")
        arrays = images.detach().float().cpu().numpy()
        verdicts = [judge(array, prompt) for array, prompt in zip(arrays, prompts, strict=True)]
        return torch.from_numpy(np.array([self._score(verdict) for verdict in verdicts], np.float32))

    def _score(self, verdict: Verdict | None) -> float:
        if verdict is None:
            return float("nan")
        return float(verdict.passed) if self.strict else verdict.graded
