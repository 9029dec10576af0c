"""Copies for code that is not ours: what it changes in a copy does not change our data."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor

_FIXED = (str, int, float, bool, type(None))


def own(value: Any) -> Any:
    """Copy JSON-like data; lists and dictionaries are copied at every depth."""
    if isinstance(value, _FIXED):
        return value
    if isinstance(value, Mapping):
        return {key: own(inside) for key, inside in value.items()}
    if type(value) in (list, tuple):
        return type(value)(own(inside) for inside in value)
    return deepcopy(value)


def own_tensor(given: Tensor, kept: Tensor) -> Tensor:
    """Return `given`, or a copy of it if it shares memory with `kept`.

    The copy passes gradients back, and can be edited in place, which torch forbids for a leaf that requires a gradient.
    """
    shares = given.untyped_storage().data_ptr() == kept.untyped_storage().data_ptr()
    return given.clone() if shares else given
