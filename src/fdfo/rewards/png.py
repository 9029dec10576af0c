"""Images as PNG and back, in whole levels of 1/255."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fdfo.words import plural

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

    The beginnings of all are looked at before one is opened, and one is open at a time: small files may hold large
    images, or large texts. Raises ValueError for anything but PNG files, several sizes, and more than `most_pixels` in
    all.
    """
    sizes = {_size(text) for text in texts}
    if len(sizes) > 1:
        raise ValueError("images of several sizes; those of a request must have one")
    ((width, height),) = sizes
    if max(width, height) > LARGEST_SIDE:
        raise ValueError(f"an image of {width} x {height} pixels; the largest side is {LARGEST_SIDE}")
    if height * width * len(texts) > most_pixels:
        held = f"{plural(len(texts), 'image')} of {width} x {height} pixels, more than {most_pixels} pixels in all"
        raise ValueError(f"{held}; send fewer at a time (batch_size)")
    images = torch.empty(len(texts), 3, height, width)
    for image, text in zip(images, texts, strict=True):
        try:
            with Image.open(BytesIO(b64decode(text, validate=True)), formats=["PNG"]) as picture:
                image.copy_(torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for bad files
            raise ValueError(f"an image that is no PNG file: {error}") from error
    return images.div_(255)


def _size(text: str) -> tuple[int, int]:
    """Width and height that the first 24 bytes of a PNG file state: its signature, and the beginning of its header."""
    beginning = b64decode(text[:32], validate=True)
    if len(beginning) < 24 or not beginning.startswith(b"\x89PNG\r\n\x1a\n") or beginning[12:16] != b"IHDR":
        raise ValueError("an image that is no PNG file")
    width, height = struct.unpack(">II", beginning[16:])
    return width, height
