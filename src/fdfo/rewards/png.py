"""Images as PNG and back, in whole levels of 1/255."""

from base64 import b64decode, b64encode
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LARGEST_SIDE = 8192
_FAST = 1
"""zlib's level; the higher ones save little on noise-like pictures and cost most of the time."""


def to_png(images: Tensor) -> list[str]:
    """Images [B, 3, H, W] in [0, 1] as base64 texts of PNG files."""
    levels = (images.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    texts = []
    for picture in levels:
        buffer = BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", compress_level=_FAST)
        texts.append(b64encode(buffer.getvalue()).decode("ascii"))
    return texts


def from_png(text: str) -> Tensor:
    """The image [3, H, W] float32 in [0, 1] of a base64 text. Raises ValueError for anything but a PNG file."""
    try:
        picture = Image.open(BytesIO(b64decode(text, validate=True)), formats=["PNG"])
        if max(picture.size) > LARGEST_SIDE:
            raise ValueError(
                f"an image of {picture.size[0]} x {picture.size[1]} pixels; the largest side is {LARGEST_SIDE}"
            )
        pixels = np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for bad files
        raise ValueError(f"an image that is no PNG file: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
