"""The page of every configuration key, from the typed tree and each method's own section."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.hooks.text import paragraph
from fdfo.config.section import Section
from fdfo.config.tree import Config, StopConfig
from fdfo.plugins import BUILT_IN, find

INTRODUCTION = """---
search:
  boost: 2
---

# Every key

A recipe and the command line use the same dotted names: `fdfo train shapes method.strength=0.01`. *Default* is what a
recipe gets that does not set the key. Words in parentheses name the origin of a default: "reference" is the published
setting for Stable Diffusion 3.5 Medium. How to write a recipe: [configuration](../configuration.md).
"""


def page() -> str:
    """Markdown of the whole page."""
    parts = [INTRODUCTION]
    for name, field in Config.model_fields.items():
        if name == "method":
            continue
        parts.append(f"## {name}\n\n{_sentence(_section(field.annotation))}\n")
        parts.extend(_described("###", "", name, field.annotation))
    parts.append("## method\n\n`method.name` chooses one; each has its own keys.\n")
    for name in BUILT_IN["methods"]:
        method = find("methods", name)
        parts.append(f"### method.name = {name}\n\n{_sentence(method)}\n")
        parts.extend(_described("####", f"{name}.", "method", method.Config))
    return "\n".join(parts)


def _described(level: str, owner: str, prefix: str, annotation: Any) -> Iterator[str]:
    """A heading for each key, to which a search leads; its anchor is the key, after the method that owns it."""
    for key, field, sentence in _fields(prefix, annotation):
        default = "*required*" if field.default is PydanticUndefined else f"default `{_value(field.default)}`"
        anchor = f"{owner}{key.replace('[]', '')}"
        yield f"{level} `{key}` {{ #{anchor} }}\n\n{_values(field)} · {default}\n\n{paragraph(sentence)}\n"


def _fields(prefix: str, annotation: Any) -> Iterator[tuple[str, FieldInfo, str]]:
    """The leaves below a section: dotted key (entries of a list as `prefix[].key`), field, and what it is."""
    section = _section(annotation)
    assert section is not None
    where = f"{prefix}[]" if _is_list(annotation) else prefix
    sentences = _sentences(section)
    for name, field in section.model_fields.items():
        sentence = sentences.get(name, "")
        inner = _section(field.annotation)
        if inner is None or inner.__name__ == "RewardConfig":
            yield f"{where}.{name}", field, sentence
        else:
            if inner is StopConfig:
                yield f"{where}.{name}", field, sentence
            yield from _fields(f"{where}.{name}", inner)


def _sentences(section: type[Section]) -> dict[str, str]:
    """The text below each field, those of the classes above included.

    Pydantic's own `use_attribute_docstrings` reads the source of every section whenever the program starts.
    """
    found: dict[str, str] = {}
    for owner in reversed([kind for kind in section.__mro__ if issubclass(kind, Section)]):
        (body,) = ast.parse(dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if is_field and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = inspect.cleandoc(str(text.value.value))
    return found


def _section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(_section, get_args(annotation))), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(_is_list(part) for part in get_args(annotation))


def _values(field: FieldInfo) -> str:
    """What is accepted: a type in words with its bounds, or the words that may stand there."""
    return " or ".join(dict.fromkeys(_alternatives(field.annotation, field.metadata)))


def _alternatives(annotation: Any, metadata: list[Any]) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        more = [part for item in more for part in getattr(item, "metadata", [item])]
        yield from _alternatives(inner, [*metadata, *more])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part, metadata)
    elif origin is Literal:
        yield " or ".join(f"`{value}`" for value in get_args(annotation))
    elif origin is tuple:
        parts = [part for part in get_args(annotation) if part is not Ellipsis]
        count = "list of " if Ellipsis in get_args(annotation) else f"{len(parts)} times "
        yield count + " or ".join(_alternatives(parts[0], []))
    elif _section(annotation) is not None:
        yield "section"
    else:
        name = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null"}
        bounds = _bounds(metadata) if annotation in (int, float) else ""
        yield name.get(annotation, str(getattr(annotation, "__name__", annotation))) + bounds


def _bounds(metadata: list[Any]) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = [f"{sign} {getattr(m, name):g}" for m in metadata for name, sign in signs.items() if hasattr(m, name)]
    return f" {', '.join(found)}" if found else ""


def _value(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, tuple):
        return f"[{', '.join(map(_value, default))}]"
    return '""' if default == "" else f"{default:g}" if isinstance(default, float) else str(default)


def _sentence(owner: Any) -> str:
    return paragraph((owner.__doc__ or "").strip().split("\n\n")[0]) if owner is not None else ""
