"""Dotted keys, and which of them a name alone may mean."""

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from fdfo.errors import meant


def keys_of(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted keys of a section's fields, and of those in its sections; entries of lists are not followed."""
    return list(_keys(schema, prefix))


def _keys(schema: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        inside = _section(field.annotation)
        yield f"{prefix}{name}"
        if inside is not None:
            yield from _keys(inside, f"{prefix}{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a field is, or may be."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return next(filter(None, map(_section, get_args(annotation))), None)
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    return annotation if is_class and issubclass(annotation, BaseModel) else None


def keys_named(name: str, keys: Iterable[str]) -> list[str]:
    """The keys whose last part is this name; where there is none, those whose last part is near it."""
    by_end: dict[str, list[str]] = {}
    for key in keys:
        by_end.setdefault(key.rpartition(".")[2], []).append(key)
    name = name.replace("-", "_")
    return by_end.get(name) or by_end.get(meant(name, by_end) or "", [])
