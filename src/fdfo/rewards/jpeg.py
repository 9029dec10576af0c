"""Size of the JPEG file as a score: an objective without any model (DDPO, arXiv:2305.13301, Section 5.1).

Departures: none. Sizes are those of the installed Pillow's encoder (4:2:0 chroma), and vary a little between versions.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from fdfo.config.bounds import Quality
from fdfo.errors import RewardError
from fdfo.rewards.png import levels

Sign = Literal["compressible", "incompressible"]
_BYTES_PER_KB = 1000


class JpegSize:
    """Kilobytes of the image as JPEG, negated for `compressible`."""

    differentiable = False

    def __init__(self, *, quality: Quality = 95, sign: Sign = "compressible"):
        """quality is JPEG's, 1 to 100 (DDPO: 95). compressible rewards small files: the DDPO task whose optimum are
        smooth images, while incompressible ends in noise. Raises RewardError for unusable options.
        """
        problems = []
        if not isinstance(quality, int) or not 1 <= quality <= 100:
            problems.append(f"quality must be a whole number from 1 to 100, got {quality!r}")
        if sign not in get_args(Sign):
            problems.append(f"sign must be one of {', '.join(get_args(Sign))}, got {sign!r}")
        if problems:
            raise RewardError("reward 'jpeg': " + "; ".join(problems))
        self._quality = quality
        self._factor = -1.0 if sign == "compressible" else 1.0

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        """Scores [B] float32 in kB (1000 bytes) of images [B, 3, H, W] in [0, 1], on their device."""
        sizes = [self._bytes(Image.fromarray(picture)) for picture in levels(images)]
        return self._factor * torch.tensor(sizes, dtype=torch.float32, device=images.device) / _BYTES_PER_KB

    def _bytes(self, picture: Image.Image) -> int:
        buffer = BytesIO()
        picture.save(buffer, format="JPEG", quality=self._quality)
        return buffer.tell()
