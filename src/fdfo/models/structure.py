"""Arguments of a network's call, taken apart into the tensors of each row, and put together for a batch of rows.

What a pipeline hands to its network for one image is compared with what it hands over for two of the same prompt: the
dimension of a tensor that doubles is the batch, a list that doubles has an item for each row, and what stays as it is
belongs to all rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Row = Mapping[str, Tensor]
"""Tensors of one row by their place among the arguments, such as `encoder_hidden_states` or `caption.0`."""


@dataclass(frozen=True)
class Slot:
    """A tensor; its rows lie along `dim`, or it is the same for all rows where that is None."""

    name: str
    dim: int | None


@dataclass(frozen=True)
class Each:
    """A list with an item for each row."""

    item: Any


def structure(one: Any, two: Any, name: str = "") -> Any:
    """The structure of arguments that were recorded for one image and for two: themselves, with Slots and Eaches.

    Raises ValueError where what changed is no batch.
    """
    if isinstance(one, Tensor):
        doubled = [dim for dim, size in enumerate(one.shape) if two.shape[dim] != size]
        if len(doubled) > 1 or any(two.shape[dim] != 2 * one.shape[dim] for dim in doubled):
            raise ValueError(f"{name} grows from {tuple(one.shape)} to {tuple(two.shape)} with a second image")
        return Slot(name, doubled[0] if doubled else None)
    if isinstance(one, Mapping):
        return {key: structure(value, two[key], _below(name, key)) for key, value in one.items()}
    if isinstance(one, list | tuple):
        if len(two) == 2 * len(one) > 0:
            return Each(structure(one[0], one[0], name))
        return type(one)(structure(a, b, _below(name, i)) for i, (a, b) in enumerate(zip(one, two, strict=True)))
    return one


def row_of(form: Any, value: Any, part: int = 0, parts: int = 1) -> dict[str, Tensor]:
    """The tensors of one row, on the CPU, of arguments with so many equal parts.

    Raises ValueError where they have another structure.
    """
    if isinstance(form, Slot):
        if form.dim is None:
            return {form.name: value.cpu()}
        size = value.shape[form.dim] // parts
        return {form.name: value.narrow(form.dim, part * size, size).contiguous().cpu()}
    if isinstance(form, Each):
        return row_of(form.item, value[part * len(value) // parts])
    if isinstance(form, Mapping):
        items = [(form[key], value[key]) for key in _same(form.keys(), value.keys())]
    elif isinstance(form, list | tuple):
        items = list(zip(form, value, strict=True))
    elif form is value or form == value:
        return {}
    else:
        raise ValueError(f"{value!r} where there was {form!r}")
    return {name: tensor for a, b in items for name, tensor in row_of(a, b, part, parts).items()}


def arguments(form: Any, rows: Sequence[Row]) -> Any:
    """The arguments of a call for rows that have equal shapes."""
    if isinstance(form, Slot):
        first = rows[0][form.name]
        return first if form.dim is None else torch.cat([row[form.name] for row in rows], form.dim)
    if isinstance(form, Each):
        return [arguments(form.item, [row]) for row in rows]
    if isinstance(form, Mapping):
        return {key: arguments(value, rows) for key, value in form.items()}
    if isinstance(form, list | tuple):
        return type(form)(arguments(value, rows) for value in form)
    return form


def slots(form: Any) -> list[Slot]:
    """All tensors of a structure; those in an Each have a row in each of its items."""
    if isinstance(form, Slot):
        return [form]
    if isinstance(form, Each):
        return [Slot(slot.name, 0) for slot in slots(form.item)]
    below = form.values() if isinstance(form, Mapping) else form if isinstance(form, list | tuple) else ()
    return [slot for value in below for slot in slots(value)]


def _below(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _same(expected: Any, found: Any) -> Any:
    if expected != found:
        raise ValueError(f"{sorted(found)} where there was {sorted(expected)}")
    return expected
