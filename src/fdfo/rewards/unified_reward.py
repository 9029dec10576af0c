"""UnifiedReward 2.0 (arXiv:2503.05236): a Qwen2.5-VL that writes its marks as text, of one image or of two.

Marks are for alignment with the prompt, coherence and style: 1 to 5 of one image, or shares of 1 between two. A score
is their mean; of a pair, the mean of the first image's shares less the second's, from -1 to 1.

Reference: github.com/CodeGoat24/UnifiedReward, inference_qwen/UnifiedReward-2.0-inference at commit a759534f, files
point_score_ACS_image_generation.py and pair_score_image_generation.py: the questions, on which the model was trained,
and the form of its answers. The weights could not be fetched here. Departures:

1. Images are not made into JPEG files on the way.
2. An answer without all marks asked for, or with one out of range, is a failure (NaN); the authors' code prints it.

B images with one prompt each.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fdfo.config.bounds import Images
from fdfo.rewards.questions import MARKER
from fdfo.rewards.written import WrittenScore

Dimension = Literal["alignment", "coherence", "style"]
DIMENSIONS = get_args(Dimension)
DEFAULT_MODEL = "CodeGoat24/UnifiedReward-2.0-qwen-7b"

POINT_QUESTION = f"""You are presented with a generated image and its associated text caption. Your task is to analyze \
the image across multiple dimensions in relation to the caption. Specifically:
Provide overall assessments for the image along the following axes (each rated from 1 to 5):
- Alignment Score: How well the image matches the caption in terms of content.
- Coherence Score: How logically consistent the image is (absence of visual glitches, object distortions, etc.).
- Style Score: How aesthetically appealing the image looks, regardless of caption accuracy.

Output your evaluation using the format below:

Alignment Score (1-5): X
Coherence Score (1-5): Y
Style Score (1-5): Z

Your task is provided as follows:
Text Caption: [{MARKER}]"""

PAIR_QUESTION = f"""You are presented with two generated images (Image 1 and Image 2) along with a shared text \
caption. Your task is to comparatively evaluate the two images across three specific dimensions:

- Alignment Score: How well each image matches the caption in terms of content.
- Coherence Score: How logically consistent and visually coherent each image is (absence of visual glitches, distorted \
objects, etc.).
- Style Score: How aesthetically appealing each image is, regardless of caption accuracy.

For each dimension, you must assign a relative score to Image 1 and Image 2, such that:
- Each score is a float between 0 and 1 (inclusive).
- The scores for Image 1 and Image 2 must sum to exactly 1.0 for each dimension.
- The higher the score, the better that image is in the corresponding dimension *relative to the other*.

This format emphasizes comparative quality rather than absolute evaluation.

Please provide your evaluation in the format below:

Alignment Score:
 Image 1: X
 Image 2: Y

Coherence Score:
 Image 1: X
 Image 2: Y

Style Score:
 Image 1: X
 Image 2: Y

Your task is provided as follows:
Text Caption: [{MARKER}]"""

_MARK = r"(-?\d+(?:\.\d+)?)"


class _Marks(WrittenScore):
    """What both scores share: their options."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        dimensions: str | Sequence[str] = DIMENSIONS,
        batch_size: Images = 8,
        dtype: str = "bfloat16",
        quantize: str | None = None,
    ):
        """model is a folder or hub id of a UnifiedReward 2.0 of any size; dimensions are those whose mean is the score.

        quantize keeps its weights in 8bit or 4bit (the [gpu] extra). Raises RewardError for unusable options.
        """
        self._dimensions = [dimensions] if isinstance(dimensions, str) else list(dimensions)
        problems = []
        if not self._dimensions or not {*self._dimensions} <= {*DIMENSIONS}:
            problems.append(f"dimensions must be some of {', '.join(DIMENSIONS)}, got {dimensions!r}")
        options = {"batch_size": batch_size, "dtype": dtype, "quantize": quantize}
        super().__init__(problems, model=model, revision=revision, **options)


class UnifiedReward(_Marks):
    """The mean of its marks of an image, 1 to 5."""

    name = "unified-reward"
    longest_answer = 160  # three marks, which the model writes with up to 17 digits, one a token
    question = POINT_QUESTION

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 of images [B, 3, H, W] in [0, 1]; NaN where the answer has not the marks."""
        answers = self.answers(images.unsqueeze(1), prompts)
        return self.as_scores([point_score(answer, self._dimensions) for answer in answers])


class UnifiedRewardPair(_Marks):
    """How much more of its marks the first of two images of a prompt gets, -1 to 1."""

    pairwise = True
    images = 2
    name = "unified-reward-pair"
    longest_answer = 320  # six marks
    question = PAIR_QUESTION

    def __call__(
        self, first: Tensor, second: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Preferences [B] float32 for the first of two images [B, 3, H, W] in [0, 1]; NaN likewise."""
        answers = self.answers(torch.stack([first, second], 1), prompts)
        return self.as_scores([pair_preference(answer, self._dimensions) for answer in answers])


def point_score(answer: str, dimensions: Sequence[str]) -> float:
    """The mean of some marks in an answer, such as `Alignment Score (1-5): 2.69`; NaN where one is not there."""
    found = [re.search(rf"{one} score(?:\s*\(1-5\))?\s*:\s*{_MARK}", answer, re.IGNORECASE) for one in dimensions]
    return _mean([float("nan") if one is None else float(one[1]) for one in found], 1.0, 5.0)


def pair_preference(answer: str, dimensions: Sequence[str]) -> float:
    """The mean difference of the images' marks in an answer; NaN where one is not there."""
    gaps = []
    for one in dimensions:
        form = rf"{one} score\s*:\s*image 1\s*:\s*{_MARK}\s*image 2\s*:\s*{_MARK}"
        found = re.search(form, answer, re.IGNORECASE)
        marks = [float("nan")] if found is None else [float(found[1]), float(found[2])]
        gaps.append(marks[0] - marks[-1] if all(0 <= mark <= 1 for mark in marks) else float("nan"))
    return _mean(gaps, -1.0, 1.0)


def _mean(values: Sequence[float], low: float, high: float) -> float:
    """NaN where one of them is not between the bounds."""
    return sum(values) / len(values) if all(low <= value <= high for value in values) else float("nan")
