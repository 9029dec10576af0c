"""What the image processor of Qwen2-VL, 2.5 and 3 does to pictures, as differentiable torch on their device.

[N, 3, H, W] images, [h, w] their size in the network, G = h w / patch_size^2 patches an image. Follows transformers'
`Qwen2VLImageProcessorPil`; departures: as in preprocess.py, nothing is rounded to whole levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import torch
from torch import Tensor

from fdfo.rewards.preprocess import CLIP_MEAN, CLIP_STD, MODES, normalized, resized

_LEAST_PIXELS, _MOST_PIXELS = 56 * 56, 28 * 28 * 1280


@dataclass(frozen=True, kw_only=True)
class QwenPreprocess:
    """Resize to whole blocks of patches, normalise, cut into patches."""

    patch_size: int
    merge_size: int
    """Patches along each side of a block; a block is one token of the language model."""
    temporal_patch_size: int
    """Frames of a patch; an image is repeated."""
    least_pixels: int
    most_pixels: int
    mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "QwenPreprocess":
        """Read a saved image processor. Raises ValueError for one that does something else."""
        size = config.get("size") or {}
        resample = config.get("resample", 3)
        if not config.get("do_resize", True) or not config.get("do_normalize", True) or resample not in MODES:
            raise ValueError(
                f"its image processor has do_resize={config.get('do_resize')}, "
                f"do_normalize={config.get('do_normalize')}, resample={resample}; accepted: true, true, and 2 or 3"
            )
        return QwenPreprocess(
            patch_size=config.get("patch_size", 14),
            merge_size=config.get("merge_size", 2),
            temporal_patch_size=config.get("temporal_patch_size", 2),
            least_pixels=config.get("min_pixels") or size.get("shortest_edge", _LEAST_PIXELS),
            most_pixels=config.get("max_pixels") or size.get("longest_edge", _MOST_PIXELS),
            mode=MODES[resample],
            mean=tuple(config.get("image_mean", CLIP_MEAN)),
            std=tuple(config.get("image_std", CLIP_STD)),
        )

    def __call__(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches [N G, 3 temporal_patch_size patch_size^2] of images float32 in [0, 1], and rows and columns of G."""
        height, width = self.size(*images.shape[-2:])
        images = normalized(resized(images, height, width, self.mode), self.mean, self.std)
        rows, columns, side, merge = (
            height // self.patch_size,
            width // self.patch_size,
            self.patch_size,
            self.merge_size,
        )
        blocks = images.reshape(len(images), 3, rows // merge, merge, side, columns // merge, merge, side)
        patches = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)  # [N, block row, block column, row, column, 3, side, side]
        frames = patches.unsqueeze(6).expand(*patches.shape[:6], self.temporal_patch_size, side, side)
        return frames.reshape(len(images) * rows * columns, -1), (rows, columns)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in the network: whole blocks, between least and most pixels, about the same shape."""
        block = self.patch_size * self.merge_size
        new_height, new_width = round(height / block) * block, round(width / block) * block
        if new_height * new_width > self.most_pixels:
            shrink = sqrt(height * width / self.most_pixels)
            new_height, new_width = (max(block, floor(side / shrink / block) * block) for side in (height, width))
        elif new_height * new_width < self.least_pixels:
            grow = sqrt(self.least_pixels / (height * width))
            new_height, new_width = (ceil(side * grow / block) * block for side in (height, width))
        return new_height, new_width


def patch_grid(count: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Frames, rows and columns of the patches of `count` equal images: [count, 3], whole numbers."""
    return torch.tensor([[1, rows, columns]], device=device).expand(count, 3)
