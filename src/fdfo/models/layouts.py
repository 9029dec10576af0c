"""How a latent [B, C, h, w] lies inside a pipeline's loop: permutations of its numbers, and back.

S = patch of 2 x 2 elements, or token; shape is (C, h, w).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """One way to lay a latent out."""

    pack: Callable[[Tensor], Tensor]
    unpack: Callable[[Tensor, Shape], Tensor]
    side: int | None
    """Elements of a patch along a side; None: as the network's configuration says."""
    channels: int
    """Numbers of a packed token for each channel."""


def _patches(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h // 2 * (w // 2), 4 * c)


def _from_patches(x: Tensor, shape: Shape) -> Tensor:
    c, h, w = shape
    return x.view(len(x), h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(len(x), c, h, w)


SPATIAL = Layout(lambda x: x, lambda x, shape: x, side=None, channels=1)
"""As it is."""

PATCHES = Layout(_patches, _from_patches, side=2, channels=4)
"""[B, h/2 w/2, 4 C], channel outermost: FLUX.1 and its descendants."""

TOKENS = Layout(
    lambda x: x.flatten(2).transpose(1, 2), lambda x, shape: x.transpose(1, 2).reshape(len(x), *shape), 1, 1
)
"""[B, h w, C]."""

TOKENS_BY_FOUR = replace(TOKENS, side=2)
"""As TOKENS, of images that the text's network counts in squares of four (Qwen-Image-2.1)."""

ONE_FRAME = Layout(lambda x: x.unsqueeze(2), lambda x, shape: x.squeeze(2), side=None, channels=1)
"""[B, C, 1, h, w]: a video of one frame."""


CHANNELS_LAST = Layout(
    lambda x: x.permute(0, 2, 3, 1).unsqueeze(1),
    lambda x, shape: x.squeeze(1).permute(0, 3, 1, 2),
    side=None,
    channels=1,
)
"""[B, 1, h, w, C]: a video of one frame, channel innermost (Kandinsky 5)."""


def rows_of_frames(x: Tensor) -> list[Tensor]:
    """[B, C, h, w] -> B videos [C, 1, h, w] of one frame (Z-Image)."""
    return list(x.unsqueeze(2).unbind())


def from_rows_of_frames(videos: list[Tensor], states: Tensor) -> Tensor:
    """And back, whatever the states were."""
    return torch.stack(videos).squeeze(2)


def first_channels(v: Tensor, states: Tensor) -> Tensor:
    """Of a network that may give a variance, too: the velocity (Sana)."""
    return v[:, : states.shape[1]]


def last_tokens(v: Tensor, states: Tensor) -> Tensor:
    """Of a network that gives the tokens of the text before those of the image (Qwen-Image-2.1)."""
    return v[:, -states.shape[1] :]
