"""What a CLIP image processor does to pictures, as differentiable torch on their device.

[B, 3, H, W] images, [h, w] the size that the network takes. Follows transformers' `CLIPImageProcessorPil`; departures:

1. Pillow rounds to whole levels of 1/255 after each of its two passes (along the width, then along the height). Here
   nothing is rounded, since rounding has no gradient; both clip to [0, 1] after each pass. Rounding moves a level by at
   most 1/2 per pass, and the second pass enlarges the first one's error by at most 1.25 (the largest absolute sum of
   bicubic weights): results differ by less than 1.125 levels of 255, before normalisation.
2. From version 13 on, Pillow takes the height first for tall pictures (its pull request #9549). Here it is always the
   width, as in older versions; the order matters where the filter overshoots, by up to 9 levels in noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

MODES = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # arXiv:2103.00020, the authors' code
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class ClipPreprocess:
    """Resize, crop at the centre (or fill up with black), normalise."""

    resize: int | tuple[int, int]
    """Pixels of the shorter side, or height and width whatever the aspect ratio was."""
    size: tuple[int, int]
    """Height and width of what comes out."""
    mode: str
    """Filter of the resizing: bicubic or bilinear."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole: bool = False
    """Show the whole picture, whatever `resize` says: as large as fits into `size`, the rest black. What open_clip does
    with `resize_longest_max` (`ResizeMaxSize` in its transform.py)."""

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "ClipPreprocess":
        """Read a saved image processor; old files hold plain numbers for the sizes.

        Raises ValueError for a processor that does something else, or whose pictures have no fixed size.
        """
        size = config.get("size", 224)
        size = {"shortest_edge": size} if isinstance(size, int) else size
        crop = config.get("crop_size", 224)
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        final = crop if config.get("do_center_crop", True) else size
        resample = config.get("resample", 3)
        fits_one = "shortest_edge" in size or {"height", "width"} <= set(size)
        if not config.get("do_resize", True) or not fits_one or not {"height", "width"} <= set(final):
            raise ValueError(
                f"its image processor resizes to {size} and crops to {final}; "
                "accepted: a shortest edge and a centre crop, or a fixed height and width"
            )
        if resample not in MODES:
            raise ValueError(f"its image processor has resample={resample}; accepted: 2 (bilinear), 3 (bicubic)")
        normalises = config.get("do_normalize", True)
        return ClipPreprocess(
            resize=size["shortest_edge"] if "shortest_edge" in size else (size["height"], size["width"]),
            size=(final["height"], final["width"]),
            mode=MODES[resample],
            mean=tuple(config.get("image_mean", CLIP_MEAN)) if normalises else (0.0,) * 3,
            std=tuple(config.get("image_std", CLIP_STD)) if normalises else (1.0,) * 3,
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] float32 in [0, 1] to normalised ones [B, 3, h, w]."""
        height, width = self._resized(*images.shape[-2:])
        fit = _filled_up if self.whole else _center_crop
        return normalized(fit(resized(images, height, width, self.mode), *self.size), self.mean, self.std)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.whole:
            scale = min(self.size[0] / height, self.size[1] / width)
            return round(height * scale), round(width * scale)
        if isinstance(self.resize, tuple):
            return self.resize
        longest = int(self.resize * max(height, width) / min(height, width))
        return (longest, self.resize) if width <= height else (self.resize, longest)


def resized(images: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] as [B, 3, height, width], by an anti-aliased filter (bicubic or bilinear).

    Along the width first and clipped in between, as Pillow does: overshoot at edges would differ by 30 levels.
    """
    for target in ((images.shape[-2], width), (height, width)):
        images = interpolate(images, target, mode=mode, antialias=True).clamp(0, 1)
    return images


def normalized(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images [B, C, H, W] less the mean, over the standard deviation, of each channel."""
    shift, scale = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std))
    return (images - shift) / scale


def _center_crop(images: Tensor, height: int, width: int) -> Tensor:
    """Cut off, or fill with black, around the centre; negative padding cuts."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    bottom, right = images.shape[-2] - height - top, images.shape[-1] - width - left
    return pad(images, (-left, -right, -top, -bottom))


def _filled_up(images: Tensor, height: int, width: int) -> Tensor:
    """Fill with black around the centre; of an odd number of lines, the larger part comes right and below."""
    more_h, more_w = height - images.shape[-2], width - images.shape[-1]
    return pad(images, (more_w // 2, more_w - more_w // 2, more_h // 2, more_h - more_h // 2))
