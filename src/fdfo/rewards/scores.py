"""What a reward returns, checked and converted. B images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.words import plural

LARGEST = torch.finfo(torch.float32).max

_WITHOUT_NUMBERS = "torch._subclasses"
"""Where torch has tensors that only stand for others, such as a FakeTensor."""


def as_scores(returned: Any, *, name: str, images: Tensor, gradient: bool) -> Tensor:
    """One float64 score per image, [B] on their device, of whatever the reward `name` returned for them.

    Accepted: tensors, arrays and lists of B real numbers or booleans, and a single one for a single image; None and
    masked entries are NaN. With `gradient`, scores of images that carry a gradient must carry it on. Raises RewardError
    for anything else.
    """
    values = _as_tensor(returned)
    if values is not None and values.ndim == 0 and len(images) == 1:
        values = values[None]
    if values is None or values.is_complex() or values.shape != (len(images),):
        raise RewardError(
            f"reward {name!r} returned {_describe(returned)} for {plural(len(images), 'image')}; "
            f"accepted: a tensor, array or list of {plural(len(images), 'number')}, one for each image"
            + _hint(returned, values, len(images))
        )
    if not gradient:
        values = values.detach()
    elif images.requires_grad and not values.requires_grad:
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
    if isinstance(returned, Tensor):
        return returned if _why_unreadable(returned) is None else None
    try:
        if isinstance(returned, list | tuple):
            returned = [np.nan if item is None or item is np.ma.masked else item for item in returned]
            if tensors := [item for item in returned if isinstance(item, Tensor)]:
                return _stacked(returned, tensors)
        if isinstance(returned, np.ma.MaskedArray):
            returned = np.ma.filled(returned.astype(np.float64), np.nan)
        elif isinstance(returned, np.ndarray) and returned.dtype == object and returned.ndim == 1:
            return _as_tensor(returned.tolist())
        array = np.asarray(returned)
    except (ValueError, TypeError, RuntimeError):
        return None
    return torch.from_numpy(array.astype(np.float64)) if array.dtype.kind in "biuf" else None


def _stacked(items: list[Any], tensors: list[Tensor]) -> Tensor | None:
    """Items, of which some are the tensors, as one; their gradient is kept."""
    if any(_why_unreadable(tensor) is not None or tensor.is_complex() for tensor in tensors):
        return None
    device = tensors[0].device
    return torch.stack([torch.as_tensor(item, dtype=torch.float64, device=device) for item in items])


def _why_unreadable(tensor: Tensor) -> str | None:
    """What to do about a tensor whose numbers are not simply there; None for one like any other."""
    if tensor.is_meta:
        return "it is on the device 'meta', where tensors have no numbers"
    if tensor.is_quantized:
        return "it is quantised; call dequantize()"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "it is sparse or nested; call to_dense(), or to_padded_tensor()"
    if type(tensor).__module__.startswith(_WITHOUT_NUMBERS):
        return f"it is a {type(tensor).__name__}, whose numbers are elsewhere; return a plain tensor"
    return None


def _hint(returned: Any, values: Tensor | None, count: int) -> str:
    """The smallest change that fixes it, where it is known."""
    if isinstance(returned, Tensor) and (why := _why_unreadable(returned)) is not None:
        return f"; {why}"
    if values is not None and values.ndim > 1 and values.numel() == count:
        return "; flatten it"
    if isinstance(returned, tuple) and len(returned) > 1 and _are_scores(returned[0], count):
        return "; other trainers expect (scores, details): `return scores`, or wrap it: `lambda *a: theirs(*a)[0]`"
    if isinstance(returned, Mapping) and (keys := [key for key in returned if _are_scores(returned[key], count)]):
        return f"; return what is under {keys[0]!r}, or wrap it: `lambda *a: theirs(*a)[{keys[0]!r}]`"
    return ""


def _are_scores(returned: Any, count: int) -> bool:
    """Whether a part of what was returned would do by itself."""
    values = _as_tensor(returned)
    return values is not None and values.shape == (count,)


def _describe(returned: Any) -> str:
    if isinstance(returned, Tensor) and returned.is_nested:
        return f"a nested {type(returned).__name__}"
    if isinstance(returned, Tensor | np.ndarray):
        return f"a {type(returned).__name__} of {returned.dtype} and shape {list(returned.shape)}"
    text = repr(returned)
    return f"{type(returned).__name__} {text if len(text) <= 80 else text[:77] + '...'}"


def as_features(returned: Any, *, name: str, images: Tensor) -> Tensor:
    """Features [B, D] of images [B, 3, H, W], as a reward returned them. Raises RewardError for anything else, and for
    numbers that are not finite, of images that are."""
    if not isinstance(returned, Tensor) or returned.ndim != 2 or len(returned) != len(images):
        got = f"a tensor {list(returned.shape)}" if isinstance(returned, Tensor) else type(returned).__name__
        raise RewardError(f"reward {name!r}: image_features returned {got}; expected a tensor [{len(images)}, D]")
    sound = images.isfinite().flatten(1).all(1).to(returned.device)
    if not bool(returned[sound].isfinite().all()):
        raise RewardError(f"reward {name!r}: image_features returned numbers that are not finite")
    return returned
