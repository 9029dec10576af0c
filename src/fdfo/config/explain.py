"""What pydantic found, as one line for every problem, with the dotted key of the command line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fdfo.config.keys import keys_named, keys_of
from fdfo.errors import meant, nearest, shown

ASKED_FOR = {
    "policy.name": "name your model: a pipeline folder, a hub id, my_policy.py:function, or shapes (embedded)",
    "reward": "name what to train on, as reward='[pickscore]' or reward='[{name: my_scores.py:function}]'",
}
"""What is said of the keys that no recipe can know."""


def explain(error: ValidationError, schema: type[BaseModel], keys: Sequence[str] | None = None) -> list[str]:
    """The problems of a section of this schema, without repetitions.

    keys are all that could be meant by one that is unknown where it stands; None: those of the schema.
    """
    return list(dict.fromkeys(_lines(error, schema, keys_of(schema) if keys is None else keys)))


def _lines(error: ValidationError, schema: type[BaseModel], keys: Sequence[str]) -> Iterator[str]:
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        parts, section = _keys(item["loc"], schema)
        key = ".".join(map(str, parts))
        prefix = f"{key}: " if key else ""
        if key in ASKED_FOR and (item["type"] == "missing" or item["input"] in (None, [], ())):
            yield prefix + ASKED_FOR[key]
        elif item["type"] == "extra_forbidden" and section is not None:
            yield f"{prefix}unknown key; {_meant(str(parts[-1]), section, keys)}"
        elif item["type"] == "value_error":
            yield prefix + item["msg"].removeprefix("Value error, ")
        elif item["type"] == "model_type":
            yield f"{prefix}expected a section such as {{key: value}}, got {shown(item['input'])}"
        elif item["type"] == "tuple_type":
            yield f"{prefix}expected a list such as [a, b], got {shown(item['input'])}"
        elif item["type"] == "too_short" and any(_is_inside(one, item["loc"]) for one in places):
            continue  # its entries are not valid and are reported themselves
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            yield prefix + message + ("" if item["type"] == "missing" else f", got {shown(item['input'])}")


def _meant(name: str, section: type[BaseModel], keys: Sequence[str]) -> str:
    """What to use instead of an unknown key: one of its section, or one of this name elsewhere."""
    elsewhere = keys_named(name, keys)
    if elsewhere and meant(name, section.model_fields) is None:
        return f"did you mean {' or '.join(elsewhere)}?"
    return nearest(name, section.model_fields)


def _is_inside(location: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _keys(location: tuple[int | str, ...], schema: Any) -> tuple[list[int | str], type[BaseModel] | None]:
    """The parts of a location that are keys, and the section of the last one that names a field.

    Pydantic also names the alternative of a union there, such as 'constrained-int' or "literal['auto']". A name is a
    key where a section or a mapping is, and nowhere else: it may look like such a label.
    """
    parts: list[int | str] = []
    section = None
    for part in location:
        inside = _section_in(schema)
        if isinstance(part, int):
            parts.append(part)
        elif get_origin(schema) is Mapping and part != "[key]":
            parts.append(part)
            schema = get_args(schema)[1]
        elif inside is not None:
            parts.append(part)
            section = inside
            field = inside.model_fields.get(part)
            schema = None if field is None else field.annotation
    return parts, section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section class inside Optional[...], tuple[...] or Annotated[...]; None where there is none."""
    if get_origin(annotation) is Annotated:
        return _section_in(get_args(annotation)[0])
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_section_in, get_args(annotation))), None)
