"""Images as PNG and back, in whole levels of 1/255."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
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
    return [b64encode(png_file(picture)).decode("ascii") for picture in levels(images)]


def levels(images: Tensor) -> np.ndarray:
    """Images [B, 3, H, W] in [0, 1] as whole levels [B, H, W, 3] uint8."""
    rounded = (images.detach() * 255).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


def png_file(picture: np.ndarray) -> bytes:
    """Levels [H, W, 3] uint8 as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=_FAST)
    return buffer.getvalue()


def from_png(texts: Sequence[str], most_pixels: int) -> Tensor:
    """Images [B, 3, H, W] float32 in [0, 1] of base64 texts of PNG files of one size, B from 1.

    All of them are looked at before one is decoded: small files may hold large images. Raises ValueError for anything
    but PNG files, several sizes, and more than `most_pixels` in all.
    """
    pictures = [_opened(text) for text in texts]
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1:
        raise ValueError("images of several sizes; those of a request must have one")
    ((width, height),) = sizes
    if height * width * len(texts) > most_pixels:
        held = f"{len(texts)} images of {width} x {height} pixels, more than {most_pixels} pixels in all"
        raise ValueError(f"{held}; send fewer at a time (batch_size)")
    images = torch.empty(len(texts), 3, height, width)
    for image, picture in zip(images, pictures, strict=True):
        try:
            image.copy_(torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1))
        except (OSError, SyntaxError) as error:  # what Pillow raises for bad files
            raise ValueError(f"an image that is no PNG file: {error}") from error
        picture.close()  # which holds the decoded pixels
    return images.div_(255)


def _opened(text: str) -> Image.Image:
    """The file of a base64 text, of which only the header was read."""
    try:
        picture = Image.open(BytesIO(b64decode(text, validate=True)), formats=["PNG"])
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an image that is no PNG file: {error}") from error
    if max(picture.size) > LARGEST_SIDE:
        held = f"an image of {picture.size[0]} x {picture.size[1]} pixels"
        raise ValueError(f"{held}; the largest side is {LARGEST_SIDE}")
    return picture
