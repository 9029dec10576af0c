"""What a reward returns, checked and converted. B images."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdfo.errors import RewardError

LARGEST = torch.finfo(torch.float32).max


def as_scores(returned: Any, *, name: str, images: Tensor, gradient: bool) -> Tensor:
    """One float64 score per image, [B] on their device, of whatever the reward `name` returned for them.

    Accepted: tensors, arrays and lists of B real numbers or booleans. With `gradient`,
    scores of images that carry a gradient must carry it on. Raises RewardError for anything else.
    """
    values = _as_tensor(returned)
    if values is None or values.is_complex() or values.shape != (len(images),):
        hint = "; flatten it" if values is not None and values.ndim > 1 and values.numel() == len(images) else ""
        raise RewardError(
            f"reward {name!r} returned {_describe(returned)} for {len(images)} images; "
            f"accepted: a tensor, array or list of {len(images)} numbers, one for each image{hint}"
        )
    if gradient and images.requires_grad and not values.requires_grad:
        raise RewardError(
            f"reward {name!r} says that it is differentiable, but its scores have no gradient; remove what cuts it off "
            "(detach(), numpy(), item(), no_grad()), or set differentiable = False"
        )
    return values.to(images.device, torch.float64)


def usable(scores: Tensor) -> Tensor:
    """Which of scores [B] can be trained on, [B] bool: numbers that float32 holds, in which networks are trained."""
    return scores.abs() <= LARGEST


def failed_kinds(scores: Tensor) -> str:
    """What is among scores [B] that cannot be used, in words; empty where all can."""
    kinds = {
        "NaN": scores.isnan(),
        "inf": scores.isposinf(),
        "-inf": scores.isneginf(),
        f"numbers beyond {LARGEST:.1e}": scores.isfinite() & ~usable(scores),
    }
    return " and ".join(kind for kind, found in kinds.items() if found.any())


def _as_tensor(returned: Any) -> Tensor | None:
    """The same numbers as a tensor; None when they are not numbers or do not form a block."""
    try:
        if isinstance(returned, list | tuple) and returned and all(isinstance(item, Tensor) for item in returned):
            return torch.stack(list(returned))
        if isinstance(returned, Tensor):
            return returned
        array = np.asarray(returned)
    except (ValueError, TypeError, RuntimeError):
        return None
    return torch.from_numpy(array.astype(np.float64)) if array.dtype.kind in "biuf" else None


def _describe(returned: Any) -> str:
    shape = getattr(returned, "shape", None)
    if shape is not None:
        return f"a {type(returned).__name__} of {getattr(returned, 'dtype', 'unknown type')} and shape {list(shape)}"
    text = repr(returned)
    return f"{type(returned).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
