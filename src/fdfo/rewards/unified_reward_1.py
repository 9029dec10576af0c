"""UnifiedReward 1.0 (arXiv:2503.05236), printed by papers as "UnifiedReward": a mark of an image, or the better of two.

Reference: github.com/CodeGoat24/UnifiedReward at commit ed52f98c, inference_qwen/image_generation, files
qwen_point_score_image_generation.py and qwen_pair_rank_image_generation.py: the questions, on which the model was
trained, the end of its answers, and their longest length. The weights could not be fetched here. Departures:

1. An answer that does not end as asked for is a failure (NaN); the authors' code prints it.

B images with one prompt each.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fdfo.config.bounds import Images
from fdfo.rewards.questions import MARKER
from fdfo.rewards.written import WrittenScore

DEFAULT_MODEL = "CodeGoat24/UnifiedReward-qwen-7b"

POINT_QUESTION = f"""You are given a text caption and a generated image based on that caption. Your task is to \
evaluate this image based on two key criteria:
1. Alignment with the Caption: Assess how well this image aligns with the provided caption. Consider the accuracy of \
depicted objects, their relationships, and attributes as described in the caption.
2. Overall Image Quality: Examine the visual quality of this image, including clarity, detail preservation, color \
accuracy, and overall aesthetic appeal.
Extract key elements from the provided text caption, evaluate their presence in the generated image using the format: \
'element (type): value' (where value=0 means not generated, and value=1 means generated), and assign a score from 1 to \
5 after 'Final Score:'.
Your task is provided as follows:
Text Caption: [{MARKER}]"""

PAIR_QUESTION = f"""You are given a text caption and two generated images based on that caption. Your task is to \
evaluate and compare these images based on two key criteria:
1. Alignment with the Caption: Assess how well each image aligns with the provided caption. Consider the accuracy of \
depicted objects, their relationships, and attributes as described in the caption.
2. Overall Image Quality: Examine the visual quality of each image, including clarity, detail preservation, color \
accuracy, and overall aesthetic appeal.
Compare both images using the above criteria and select the one that better aligns with the caption while exhibiting \
superior visual quality.
Provide a clear conclusion such as "Image 1 is better.", "Image 2 is better." and "Both images are equally good."
Your task is provided as follows:
Text Caption: [{MARKER}]"""

CONCLUSIONS = {"image 1 is better": 1.0, "image 2 is better": -1.0, "both images are equally good": 0.0}


class _Version1(WrittenScore):
    """What both scores share: their options."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        batch_size: Images = 8,
        dtype: str = "bfloat16",
        quantize: str | None = None,
    ):
        """model is a folder or hub id of a UnifiedReward 1.0 on Qwen2.5-VL, of any size.

        quantize keeps its weights in 8bit or 4bit (the [gpu] extra). Raises RewardError for unusable options.
        """
        super().__init__([], model=model, revision=revision, batch_size=batch_size, dtype=dtype, quantize=quantize)


class UnifiedReward1(_Version1):
    """The final score of an image, 1 to 5."""

    name = "unified-reward-1"
    question = POINT_QUESTION

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 of images [B, 3, H, W] in [0, 1]; NaN for an answer without a final score."""
        return self.as_scores([final_score(answer) for answer in self.answers(images.unsqueeze(1), prompts)])


class UnifiedReward1Pair(_Version1):
    """Which of two images of a prompt is better: 1 the first, -1 the second, 0 neither."""

    pairwise = True
    images = 2
    name = "unified-reward-1-pair"
    question = PAIR_QUESTION

    def __call__(
        self, first: Tensor, second: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> Tensor:
        """Preferences [B] float32 for the first of two images [B, 3, H, W] in [0, 1]; NaN for no conclusion."""
        answers = self.answers(torch.stack([first, second], 1), prompts)
        return self.as_scores([conclusion(answer) for answer in answers])


def final_score(answer: str) -> float:
    """The number after the last `Final Score:` of an answer; NaN if there is none, or it is not between 1 and 5."""
    found = re.findall(r"final score\s*:\s*(-?\d+(?:\.\d+)?)", answer, re.IGNORECASE)
    score = float(found[-1]) if found else float("nan")
    return score if 1 <= score <= 5 else float("nan")


def conclusion(answer: str) -> float:
    """What an answer concludes: its last conclusion; NaN if it has none."""
    found = re.findall("|".join(CONCLUSIONS), answer.lower())
    return CONCLUSIONS[found[-1]] if found else float("nan")
