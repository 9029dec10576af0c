"""Objects that others may do with as they like: what is ours stays as it is."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor

_FIXED = (str, int, float, bool, type(None))


def own(value: Any) -> Any:
    """A copy of JSON-like data, whose lists and dictionaries are new ones at every depth."""
    if isinstance(value, _FIXED):
        return value
    if isinstance(value, Mapping):
        return {key: own(inside) for key, inside in value.items()}
    if type(value) in (list, tuple):
        return type(value)(own(inside) for inside in value)
    return deepcopy(value)


def own_tensor(given: Tensor, kept: Tensor) -> Tensor:
    """`given`, copied where it shares memory with `kept`.

    The copy carries the gradient on and may be edited in place, as a leaf that requires a gradient may not.
    """
    shares = given.untyped_storage().data_ptr() == kept.untyped_storage().data_ptr()
    return given.clone() if shares else given
