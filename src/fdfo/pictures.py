"""Images that show themselves, as one PNG. B images of P prompts, [H, W] pixels."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fdfo.files import write_atomically

COLUMNS = 8
"""Pictures in a row where each prompt has one."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of some prompts, those of a prompt side by side; in a notebook a row for each prompt.

    `pictures[i]` is image i for Pillow, `pictures.images` are the numbers.
    """

    images: Tensor  # [B, 3, H, W] float32 in [0, 1], on the CPU
    prompts: Sequence[str]  # P, which divides B

    def __post_init__(self) -> None:
        assert self.images.ndim == 4 and len(self.images) % len(self.prompts) == 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(tile(_levels(self.images[index][None]), 1))

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        each = len(self.images) // len(self.prompts)
        return png(tile(_levels(self.images), each if each > 1 else COLUMNS))

    def save(self, path: str | Path) -> None:
        """Write what a notebook shows, a PNG file."""
        write_atomically(Path(path), self._repr_png_())


def _levels(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def tile(images: Tensor, columns: int) -> np.ndarray:
    """Arrange images uint8 [n, 3, H, W] in rows of `columns`: [rows H, columns W, 3]; missing tiles are black."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    canvas = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    canvas[:n] = images.numpy()
    grid = canvas.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return grid.reshape(rows * height, columns * width, channels)


def png(pixels: np.ndarray) -> bytes:
    """PNG file of uint8 pixels [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
