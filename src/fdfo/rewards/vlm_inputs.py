"""From images and rendered texts to what a vision-language model takes; rows of a batch are padded on the left.

R rows, n images each, N = R n images [N, 3, H, W] in [0, 1] in the order of the rows, L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fdfo.rewards.preprocess_qwen import QwenPreprocess, patch_grid

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
"""Model types that share one image processor."""


class Inputs(Protocol):
    """How one family of models is fed."""

    @property
    def tokenizer(self) -> Any: ...

    def __call__(self, images: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
        """Keyword arguments of the model for R texts, each with n image markers of the chat template."""
        ...


@dataclass(frozen=True)
class QwenInputs:
    """The Qwen-VL family: torch on the images' device, differentiable; needs no torchvision."""

    tokenizer: Any
    preprocess: QwenPreprocess
    image_token: str

    def __call__(self, images: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
        patches, (rows, columns) = self.preprocess(images)
        blocks = rows * columns // self.preprocess.merge_size**2
        tokens = self.tokenizer(
            [text.replace(self.image_token, self.image_token * blocks) for text in texts],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(images.device)
        image_id = self.tokenizer.convert_tokens_to_ids(self.image_token)
        return {
            "input_ids": tokens.input_ids,
            "attention_mask": tokens.attention_mask,
            "mm_token_type_ids": (tokens.input_ids == image_id).int(),
            "pixel_values": patches,
            "image_grid_thw": patch_grid(len(images), rows, columns, images.device),
        }


@dataclass(frozen=True)
class ProcessorInputs:
    """Any other model: its own processor, on the CPU, in whole levels of 1/255; not differentiable."""

    processor: Any

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    def __call__(self, images: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
        levels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        each = len(levels) // len(texts)
        begin = self.tokenizer.bos_token
        batch = self.processor(
            images=[list(levels[start : start + each]) for start in range(0, len(levels), each)],
            text=list(texts),
            padding=True,
            padding_side="left",
            add_special_tokens=not (begin and texts[0].startswith(begin)),  # the template may have put it there
            return_tensors="pt",
        )
        return dict(batch.to(images.device))
